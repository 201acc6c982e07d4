"""DataPlug's API on NearData: programs change the root of their imports and nothing else.

```python
from neardata.dataplug import CloudObject                                    # was: from dataplug import CloudObject
from neardata.dataplug.formats.generic.csv import CSV, partition_num_chunks  # was: from dataplug.formats…
```
"""

from .cloudobject import CloudObject

__all__ = ["CloudObject"]

"""`cloud_object.storage`: the verbs of an S3 client that DataPlug's plug-ins call."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from .. import _objects
from .._errors import ConfigError

if TYPE_CHECKING:
    from .cloudobject import CloudObject

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class Storage:
    """Reads through NearData: the object at the version it was fetched at, everything else as it is now."""

    def __init__(self, cloud_object: CloudObject) -> None:
        self._object = cloud_object

    def get_object(self, *, Bucket: str, Key: str, Range: str | None = None, **_: Any) -> dict[str, Any]:
        """Read an object or a range of it; `["Body"].read()` gives the bytes."""
        if self._is_index(Bucket, Key):
            from . import _preprocess

            whole = _preprocess.body(self._object)
            first, end = _range(Range, len(whole))
            data, size = whole[first:end], len(whole)
        else:
            reference = self._reference(Bucket, Key)
            size = int(reference["size"])
            first, end = _range(Range, size)
            data = _objects.read(reference, first, end)
        status = 200 if Range is None else 206
        return {
            "Body": io.BytesIO(data),
            "ContentLength": len(data),
            "ContentRange": f"bytes {first}-{end - 1}/{size}",
            "ResponseMetadata": {"HTTPStatusCode": status},
        }

    def head_object(self, *, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        """Give size and entity tag."""
        reference = self._reference(Bucket, Key)
        answer = {"ContentLength": int(reference["size"]), "ResponseMetadata": {"HTTPStatusCode": 200}, "Metadata": {}}
        if tag := reference["pin"].get("etag"):
            answer["ETag"] = tag
        return answer

    def download_file(self, Bucket: str, Key: str, Filename: str, **_: Any) -> None:
        """Write an object to a local file."""
        with open(Filename, "wb") as file:
            file.write(self.get_object(Bucket=Bucket, Key=Key)["Body"].read())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            import boto3
        except ImportError:
            raise ConfigError(f"storage.{name} is boto3's; install boto3, or use get_object, head_object, download_file") from None
        return getattr(boto3.client("s3", endpoint_url=self._object.reference.get("store", {}).get("endpoint")), name)

    def _is_index(self, bucket: str, key: str) -> bool:
        path = self._object.meta_path
        return (bucket, key) == (path.bucket, path.key)

    def _reference(self, bucket: str, key: str) -> _objects.Ref:
        path = self._object.path
        if (bucket, key) == (path.bucket, path.key):
            return self._object.reference
        scheme = path.uri.split("://", 1)[0]
        return _objects.head(f"{scheme}://{bucket}/{key}")


def _range(text: str | None, size: int) -> tuple[int, int]:
    if text is None:
        return 0, size
    match = _RANGE.match(text)
    if match is None:
        raise ValueError(f"`{text}` is not a range; write bytes=FIRST-LAST")
    first, last = int(match[1]), int(match[2]) if match[2] else size - 1
    return min(first, size), min(last + 1, size)

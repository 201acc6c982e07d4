"""The Python worker of NearData: runs calls that its engine sends. Needs the standard library and neardata_cloudpickle.py only."""

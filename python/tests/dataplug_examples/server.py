"""The server of these tests."""

import os

s3_config = {
    "endpoint_url": os.environ["EXAMPLE_ENDPOINT"],
    "region_name": "us-east-1",
    "credentials": {"AccessKeyId": os.environ["EXAMPLE_KEY"], "SecretAccessKey": os.environ["EXAMPLE_SECRET"]},
}

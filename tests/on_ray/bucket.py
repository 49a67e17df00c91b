"""A server of this machine that speaks S3, and that can be away for a while."""

from __future__ import annotations

import os
import threading
from typing import Final

PLACE: Final = "studies"
SETTINGS: Final = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Bucket:
    """Storage that nodes reach by ``s3://``; what it holds stays while it is away."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._kind = ThreadedMotoServer
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()
        os.environ.update(SETTINGS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{self._port}")
        import s3fs

        s3fs.S3FileSystem().mkdir(PLACE)

    @property
    def url(self) -> str:
        return f"s3://{PLACE}/one"

    def fail_for(self, *, seconds: float) -> None:
        """Be away, and come back."""
        self._server.stop()
        threading.Timer(seconds, self._again).start()

    def _again(self) -> None:
        self._server = self._kind(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()

    def close(self) -> None:
        self._server.stop()

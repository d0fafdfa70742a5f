"""requests and heroku3, as the hook uses them: it reads what comes as bytes, and never guesses a character set."""

from typing import Any

from release.lean import standing_in

# 3.5 MB. requests takes any version of the first from 2 on, and needs it only for a text that names no character set.
# It knows the others for names of hosts beyond ASCII, which import idna again, and for certificates inside a ZIP file.
with (
    standing_in("charset_normalizer", __version__="2.1.1", detect=lambda _: {"encoding": "utf-8"}),
    standing_in("idna"),
    standing_in("zipfile"),
):
    import requests

import heroku3
from urllib3.util.ssl_ import create_urllib3_context

__all__ = ["OneContext", "heroku3", "requests"]


class OneContext(requests.adapters.HTTPAdapter):
    """An adapter whose connections share one TLS context, with the certificates that requests brings.

    requests reads the 140 certificates anew for each connection: 10 ms and 1 MB, and Heroku is asked over six at once.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes the pools, as the base class does."""
        context = create_urllib3_context()  # urllib3's own: before its version 2 it checks the name itself
        context.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)
        super().init_poolmanager(*args, ssl_context=context, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        """Has the connection verified: by the context, or by another file where `verify` names one."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if verify is True:
            conn.ca_certs = conn.ca_cert_dir = None  # the context has them

"""requests and heroku3, as the hook uses them: it reads what comes as bytes, and never guesses a character set."""

from release.lean import standing_in

# 3 MB. requests takes any of its versions from 2 on, and asks it only for a text whose character set is not said.
with standing_in("charset_normalizer", __version__="2.1.1", detect=lambda _: {"encoding": "utf-8"}):
    import requests

import heroku3

__all__ = ["heroku3", "requests"]

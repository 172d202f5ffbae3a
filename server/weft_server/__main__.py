"""``python -m weft_server``: the command `weft`, wherever its script is."""

import sys

from weft_server.cli import main

sys.exit(main())

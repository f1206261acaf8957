"""Run the commands as `python -m training_monitor`."""

import sys

from training_monitor.cli.main import main

sys.exit(main())

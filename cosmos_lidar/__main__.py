"""``python -m cosmos_lidar`` is ``cosmos-lidar``; ``torchrun -m cosmos_lidar`` distributes its work over ranks."""

import sys

from cosmos_lidar.cli import main

if __name__ == "__main__":
    sys.exit(main())

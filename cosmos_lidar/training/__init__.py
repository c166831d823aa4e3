"""Training: NeMo model wrappers, configuration, checkpoints, exports. The only part that imports NeMo."""

import logging

from cosmos_lidar.training import lazy_torchmetrics

# NeMo's telemetry is off, and logs that twice at every import.
logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
lazy_torchmetrics.install()  # before anything imports Lightning

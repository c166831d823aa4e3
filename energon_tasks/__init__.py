"""Energon task encoders and loaders, one module per sample type (named as in ``cosmos_lidar.shards``)."""

import cosmos_lidar as cosmos_lidar  # its import hook maps the earlier names of these modules

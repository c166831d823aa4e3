"""Program of a user of the Hub: loads models by name and prints, as JSON, what came out of each try.

python hub_user.py '[["org/name", {"family": "also"}], …]'
"""

from __future__ import annotations

import json
import sys

from cosmos_lidar.errors import UserError
from cosmos_lidar.hub import from_pretrained


def attempt(name: str, options: dict[str, str]) -> str:
    """Return the class and the first parameter of a network, or the error."""
    try:
        network = from_pretrained(name, **options)
    except UserError as error:
        return str(error)
    first = next(network.parameters())
    return f"{type(network).__name__} {first.flatten()[0].item():.6f}"


if __name__ == "__main__":
    print(json.dumps([attempt(name, options) for name, options in json.loads(sys.argv[1])]))  # noqa: T201

"""The whole path in one command, on synthetic drives or on recordings."""

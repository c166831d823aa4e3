"""The demo: what every model family does with the embedded models, on one page."""

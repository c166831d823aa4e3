"""Writers of clips; one file per layout."""

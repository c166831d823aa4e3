"""Training runs side by side: what run folders record, as a table, CSV, JSON or one offline page."""

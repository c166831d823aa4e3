"""The demo: all steps from recordings to a trained tokenizer in one command."""

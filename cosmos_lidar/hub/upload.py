"""Upload of a model's folder to a repository of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cosmos_lidar.errors import UserError


def upload(files: Sequence[Path], name: str, *, private: bool, revision: str = "", message: str = "") -> str:
    """Commit files of one folder to a repository, which is made where there is none; returns its address.

    Args:
        files: to upload, and nothing else of their folder.
        name: of the repository, ``org/name``.
        private: make a new repository private.
        revision: branch, made when absent; the default branch where empty.
        message: of the commit.

    Raises:
        UserError: no token, no right to write, no connection, or the Hub refuses the files.
    """
    import huggingface_hub as hub

    api = hub.HfApi()
    if api.token is None and hub.get_token() is None:
        raise UserError("no token of the Hub: `hf auth login`, or HF_TOKEN; --dry-run writes the folder only")
    operations = [hub.CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file) for file in files]
    try:
        api.create_repo(name, private=private, exist_ok=True)
        if revision:
            api.create_branch(name, branch=revision, exist_ok=True)
        text = message or f"Upload {Path(files[0]).name} and its card with cosmos_lidar"
        commit = api.create_commit(name, operations, commit_message=text, revision=revision or None)
    except Exception as error:  # connection, permission, the Hub's own checks: it raises many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        hint = "--dry-run writes the folder only, `hf upload NAME FOLDER` sends it later"
        raise UserError(f"{name}: not uploaded: {reason:.300}; {hint}") from error
    return str(commit.repo_url)

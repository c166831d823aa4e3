"""Model folders by name: on this disk, embedded in the package, or a repository of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cosmos_lidar.bounds import describe_size
from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer.pretrained import is_hub_name, why_unreached
from cosmos_lidar.weights import find, is_embedded
from cosmos_lidar.weights import names as embedded_names

PATTERNS = ("*.safetensors", "*.safetensors.index.json", "config.json")  # nothing else is downloaded
LARGEST_JSON = 32 << 20  # bytes: the index of a network of many shards
LARGEST_MODEL = 200 << 30


def find_model(
    name: str | Path, revision: str | None = None, cache_dir: str | Path | None = None, subfolder: str = ""
) -> Path:
    """Return the file or folder of a model.

    Args:
        name: a path; an embedded model such as ``cosmos_lidar/small-lidar-tokenizer``; or a repository of the Hub,
            ``org/name``, whose safetensors and JSON files are downloaded once and then read from the cache.
        revision: branch, tag or commit of a repository; its default branch where None.
        cache_dir: of the Hub; ``$HF_HOME/hub`` where None.
        subfolder: of a repository or folder, such as ``transformer`` in a pipeline of Diffusers; nothing else of a
            repository is downloaded.

    Raises:
        DataError: there is no such file, folder or repository, or it cannot be downloaded.
        UserError: there is no such embedded model.
    """
    path = Path(name)
    if path.exists():
        return path / subfolder
    if is_embedded(name):
        return find(str(name))
    if not is_hub_name(name):
        raise DataError("no such file or folder", file=name, wanted=_wanted())
    return _download(str(name), revision, cache_dir, subfolder.strip("/")) / subfolder


def _download(name: str, revision: str | None, cache_dir: str | Path | None, subfolder: str) -> Path:
    import huggingface_hub as hub
    from huggingface_hub import errors

    within = f"{subfolder}/" if subfolder else ""
    kept: dict[str, Any] = {"repo_id": name, "revision": revision, "cache_dir": cache_dir}
    kept |= {"allow_patterns": [f"{within}{one}" for one in PATTERNS], "ignore_patterns": [f"{within}*/*"]}
    offline = f"`hf download {name} --local-dir FOLDER` where there is a network, then that folder; {_wanted()}"
    try:
        files = hub.HfApi().model_info(name, revision=revision, files_metadata=True).siblings or []
        _check_listing(name, files, subfolder)
    except errors.GatedRepoError as error:
        wanted = "its license accepted on its page, and a token: `hf auth login`, or HF_TOKEN"
        raise DataError("a gated repository", file=name, wanted=wanted) from error
    except errors.RevisionNotFoundError as error:
        raise DataError("no such branch, tag or commit", file=name, key=revision, wanted="a revision of it") from error
    except errors.RepositoryNotFoundError as error:
        wanted = f"{_wanted()}; of a private one with a token: `hf auth login`, or HF_TOKEN"
        raise DataError("no such file, folder or repository", file=name, wanted=wanted) from error
    except DataError:
        raise
    except Exception as error:  # no connection, an outage: what was downloaded before is enough
        try:
            return Path(hub.snapshot_download(**kept, local_files_only=True))
        except errors.LocalEntryNotFoundError:
            reason = f"not in the cache, and the Hub is not reached ({why_unreached(error):.160})"
            raise DataError(reason, file=name, wanted=offline) from error
    try:
        return Path(hub.snapshot_download(**kept))
    except Exception as error:  # the disk, the connection: the hub raises many kinds
        raise DataError(f"not downloaded: {error!s:.200}", file=name, wanted=offline) from error


def _check_listing(name: str, listed: Sequence[Any], subfolder: str = "") -> list[str]:
    """Compare the files of a model in a listing with the limits; returns their names.

    Raises:
        DataError: no safetensors in the folder, or sizes that no model has.
    """
    readable = [file for file in listed if any(fnmatch(Path(file.rfilename).name, one) for one in PATTERNS)]
    files = [file for file in readable if file.rfilename.rpartition("/")[0] == subfolder]
    weights = [file for file in files if file.rfilename.endswith(".safetensors")]
    if not weights:
        folders = sorted({file.rfilename.rpartition("/")[0] for file in readable if "/" in file.rfilename})
        names = ", ".join(file.rfilename for file in listed[:5]) or "nothing"
        wanted = "a repository with safetensors; published TorchScript tokenizers are read by the options of commands"
        wanted = f"one of its folders: subfolder={', '.join(folders[:8])}" if folders else wanted
        raise DataError(f"no safetensors in {subfolder or 'it'}, but {names:.200}", file=name, wanted=wanted)
    total = sum(file.size or 0 for file in weights)
    if total > LARGEST_MODEL:
        raise DataError(
            f"{describe_size(total)} of weights", file=name, wanted=f"{describe_size(LARGEST_MODEL)} or less"
        )
    for file in files:
        if file.rfilename.endswith(".json") and (file.size or 0) > LARGEST_JSON:
            size = describe_size(file.size)
            raise DataError(f"{size} of JSON", file=name, key=file.rfilename, wanted=describe_size(LARGEST_JSON))
    return [file.rfilename for file in files]


def _wanted() -> str:
    own = ", ".join(f"cosmos_lidar/{name}" for name in embedded_names())
    return "a file or folder, a repository org/name of the Hub" + (f", or an embedded model ({own})" if own else "")

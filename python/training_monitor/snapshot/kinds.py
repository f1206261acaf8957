"""What a file is by its name: a secret, binary, code, data; which directories hold no code."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

__all__ = ["is_binary", "is_secret", "is_source", "is_wordy", "no_code_in"]

_NAMES_OF_SECRETS = """
.env .env.* *.env .envrc .netrc _netrc .npmrc .pypirc .pgpass .my.cnf .mylogin.cnf .htpasswd
.git-credentials .dockercfg .boto .s3cfg .vault-token .terraformrc
id_rsa id_dsa id_ecdsa id_ed25519 *_rsa *_ed25519
*.pem *.key *.p12 *.pfx *.pkcs12 *.jks *.keystore *.kdbx *.kdb *.ppk *.p8 *.gpg *.pgp *.asc *.ovpn
credentials credentials.* *_credentials.json *-credentials.json client_secret*.json
*service_account*.json *service-account*.json application_default_credentials.json
secret secret.* secrets secrets.* .secret .secrets *.secret *.secrets
kubeconfig *.kubeconfig kaggle.json rclone.conf *.tfvars *.tfstate *.tfstate.backup
token .token *.token hf_token api_key api_key.txt api_keys.txt apikey.txt
*_history shadow passwd secring.*
"""
_NAMES_OF_OTHERS = """
.env.example .env.sample .env.template .env.dist example.env sample.env template.env
secrets.py secret.py secrets.pyi credentials.py
"""
_BINARY_SUFFIXES = """
7z a arrow avi avif bin bmp bz2 ckpt class cubin db deb dll dylib dmg doc docx egg eot exe
fatbin feather flac gguf gif gz h5 hdf5 ico jar jpeg jpg lz4 lzma lmdb mat mdb mkv model mov mp3
mp4 mpeg npy npz o odt ogg onnx orc otf parquet pb pdf pickle pkl png ppt pptx pt pth ptx pyc
pyd pyo rar rpm safetensors so sqlite sqlite3 sst tar tfevents tflite tfrecord tgz tif tiff ttf
wav webm webp whl woff woff2 xls xlsx xz zip zst
"""
_SOURCE_SUFFIXES = """
bash bat bzl c cc cfg cmake conf cpp cu cuh cxx dockerfile fish gin go gradle h hh hpp hydra ini
ipynb j2 java jinja jinja2 jl js json json5 jsonnet kt libsonnet lua m md mk ml mojo nix pbtxt
pl properties proto ps1 py pyi pyx pxd r rb rs rst sbatch scala sh slurm smk sql swift toml ts
triton yaml yml zsh
"""
_SOURCE_NAMES = """
dockerfile makefile justfile snakefile procfile cmakelists.txt requirements.txt
"""
# Text, and mostly not what a person wrote: looked at last.
_WORDY_SUFFIXES = """
csv tsv jsonl ndjson txt log lock svg xml html htm css ipynb out err patch diff po
"""
_NO_CODE = """
__pycache__ node_modules site-packages dist-packages bower_components wandb mlruns
lightning_logs tensorboard checkpoints checkpoint ckpts htmlcov venv virtualenv
"""
_REQUIREMENTS = re.compile(r"requirements[\w.-]*\.txt")

_secret_names = tuple(_NAMES_OF_SECRETS.split())
_not_secret = frozenset(_NAMES_OF_OTHERS.split())
_binary_suffixes = frozenset(_BINARY_SUFFIXES.split())
_source_suffixes = frozenset(_SOURCE_SUFFIXES.split())
_source_names = frozenset(_SOURCE_NAMES.split())
_wordy_suffixes = frozenset(_WORDY_SUFFIXES.split())
_no_code = frozenset(_NO_CODE.split())


def is_secret(path: str) -> bool:
    """Return whether a file holds secrets by its name alone."""
    name = _name(path)
    if name in _not_secret or name.endswith(".pub"):
        return False
    return any(fnmatchcase(name, pattern) for pattern in _secret_names)


def is_binary(path: str) -> bool:
    """Return whether a file is no text by its name alone."""
    return _suffix(path) in _binary_suffixes


def is_source(path: str) -> bool:
    """Return whether a file is code or configuration by its name alone."""
    name = _name(path)
    is_listed = name in _source_names or _REQUIREMENTS.fullmatch(name) is not None
    return is_listed or _suffix(path) in _source_suffixes


def is_wordy(path: str) -> bool:
    """Return whether a text is rather data than code: it is taken after all the others."""
    return _suffix(path) in _wordy_suffixes


def no_code_in(name: str) -> str | None:
    """Say why a directory of this name is not entered; None: it is."""
    if name.startswith("."):
        return "a hidden directory"
    if name.lower() in _no_code or name.endswith(".egg-info"):
        return "a directory of what was installed or made"
    return None


def _name(path: str) -> str:
    return path.rpartition("/")[2].lower()


def _suffix(path: str) -> str:
    return _name(path).rpartition(".")[2]

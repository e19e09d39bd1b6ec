"""LiteLLM Proxy with as many models as our gateway has, one consumer's key and no database.

Lighter than ours: one key is compared, and no record of a request is stored.
Source: https://docs.litellm.ai/docs/proxy/configs
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from bench.stand.peers import python_package, version_of_python_package
from bench.stand.programs import Program, listens, running, wait_until
from bench.stand.traffic import CONSUMER_KEY, HOST_KEY, MODELS, SHADOW_MODEL, public_model

_ENV = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the internet at every start
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
}


@contextlib.contextmanager
def litellm(folder: Path, port: int, host_port: int) -> Iterator[Program]:
    """Run LiteLLM Proxy with one worker. Raises Unavailable."""
    environment = python_package("litellm[proxy]", "litellm")
    folder.mkdir()
    config, log = folder / "config.yaml", folder / "log"
    config.write_text(json.dumps(_config(host_port)))  # JSON is YAML
    command = [str(environment / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    with running(command, log, env=_ENV, cwd=folder) as program:
        wait_until(lambda: listens(port), program, log)
        yield program


def _config(host_port: int) -> dict[str, object]:
    shadow = {
        "model": f"openai/{SHADOW_MODEL}",
        "api_base": f"http://127.0.0.1:{host_port}/v1",
        "api_key": HOST_KEY,
    }
    models = [public_model(number) for number in range(MODELS)]
    return {
        "model_list": [{"model_name": model, "litellm_params": shadow} for model in models],
        "general_settings": {"master_key": CONSUMER_KEY, "disable_spend_logs": True},
        "litellm_settings": {"num_retries": 0, "request_timeout": 120, "telemetry": False},
    }


def version() -> str:
    """Return LiteLLM's version."""
    return version_of_python_package(python_package("litellm[proxy]", "litellm"), "litellm")

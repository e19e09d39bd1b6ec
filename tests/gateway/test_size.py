"""Size: what ten thousand routes and ten thousand keys may cost."""

from __future__ import annotations

from pathlib import Path

from bench.large import large_document, store_key_values
from tests.gateway.process import gateway_interpreter

MOST_MB = 100
NOWHERE = "http://127.0.0.1:9"


def test_process_with_ten_thousand_routes_and_keys_stays_under_a_hundred_megabytes(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    store_key_values(folder / "data")
    with gateway_interpreter(folder) as process:
        staged = process.ok("POST", "/revisions", {"base": 1, "configuration": large_document(NOWHERE)})
        process.ok("POST", f"/revisions/{staged['revision']}/promote")
        process.stop()
        process.start()
        question = {"managed_key": "k77", "public_model": "large"}
        assert process.ok("POST", "/resolve", question)["logical_group"] == "g77"
        assert process.popen is not None
        status = Path(f"/proc/{process.popen.pid}/status").read_text()
        resident_kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert resident_kb < MOST_MB * 1024

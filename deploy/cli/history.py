"""`biotwin history`: write telemetry, twins, alerts and their journal as Parquet files."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor


def history() -> None:
    """Write history into Parquet files under `history.directory`, until SIGTERM or SIGINT."""
    import pyarrow as pa

    from contracts.metrics import ProcessMetrics
    from deploy.configuration import load_configuration
    from deploy.process import configure_logging, run, serve_metrics
    from stream.history import HistorySink

    configuration = load_configuration()
    configure_logging("history")
    # Nobody waits for a file, but writing one takes a core for a moment: alerts on the same machine go first.
    os.nice(10)
    # Arrow's own allocator keeps several times what a file took for the next one; the system's gives it back.
    pa.set_memory_pool(pa.system_memory_pool())
    metrics = ProcessMetrics()
    sink = HistorySink(configuration, metrics)

    async def main(stop: asyncio.Event) -> None:
        # The sink writes one file at a time, and every thread that ever wrote one keeps memory for the next.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        with serve_metrics(configuration, metrics, "history", ready=lambda: sink.ready) as endpoint:
            endpoint.set_ready(True)
            await sink.run(stop)

    run(main)

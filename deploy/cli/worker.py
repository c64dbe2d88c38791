"""`biotwin worker`: the twin agent, the alert agent and the router, in one process."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time


def worker() -> None:
    """Keep the twins of this process's partitions and raise their alerts, until SIGTERM or SIGINT.

    Where Kafka refuses or loses writes the process starts again by itself from its last checkpoint. Any other failure
    ends it with a status other than 0, for its supervisor to start it again.
    """
    from contracts.metrics import ProcessMetrics
    from deploy.configuration import load_configuration
    from deploy.process import configure_logging, run, serve_metrics
    from stream.processors import processors
    from stream.worker import EXIT_KAFKA, WorkerProcess, start_again, worker_stages

    configuration = load_configuration()
    name = f"worker-{configuration.worker.instance}" if configuration.worker.instance else "worker"
    configure_logging(name)
    for library in ("faust", "mode", "aiokafka"):
        logging.getLogger(library).setLevel(logging.WARNING)
    metrics = ProcessMetrics()
    make = processors(configuration, time.time())
    stages = worker_stages(configuration, make.twin, make.alerts)
    # A fetch is tens of thousands of records and dictionaries that live for one batch and form no cycles. At Python's
    # threshold of 700 allocations the collector walks them over and over, which was a quarter of the worker's CPU.
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)

    async def main(stop: asyncio.Event) -> int:
        process = WorkerProcess(configuration, metrics, stages, make.rules)
        with serve_metrics(
            configuration, metrics, name, live=lambda: process.health.live, ready=lambda: process.health.ready
        ) as endpoint:
            endpoint.set_ready(True)
            return await process.run(stop)

    status = run(main)
    if status == EXIT_KAFKA:
        start_again()
    sys.exit(status)

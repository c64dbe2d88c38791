"""The plain drain beside which W1 is measured: aiokafka and one orjson call a record, no state, no output.

`python -m loadtest.w1_drain BOOTSTRAP TOPIC` prints one JSON object: records, seconds and CPU seconds (all threads of
the process) from the first record to the last.
"""

from __future__ import annotations

import asyncio
import sys
import time

import orjson
from aiokafka import AIOKafkaConsumer

from loadtest.kafka_log import partitions_of


async def drain(bootstrap: str, topic: str) -> dict[str, float]:
    """Read the topic from its beginning to its present end."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = await partitions_of(bootstrap, [topic])
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        total = sum((await consumer.end_offsets(partitions)).values())
        read = first = 0
        started = cpu = 0.0
        while read < total:
            fetched = await consumer.getmany(timeout_ms=1000)
            if read == 0 and fetched:
                started, cpu = time.perf_counter(), time.process_time()
                first = sum(len(records) for records in fetched.values())
            for records in fetched.values():
                for record in records:
                    orjson.loads(record.value)
                read += len(records)
        return {
            "records": read - first,
            "seconds": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu,
        }
    finally:
        await consumer.stop()


if __name__ == "__main__":
    sys.stdout.write(orjson.dumps(asyncio.run(drain(sys.argv[1], sys.argv[2]))).decode() + "\n")

"""Prints every high-priority alert of a site. Usage: python subscribe_alerts.py [host] [site]"""

import asyncio
import json
import sys

import aiomqtt


async def main(host: str = "127.0.0.1", site: str = "site") -> None:
    async with aiomqtt.Client(host, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(f"biotwin/v1/{site}/alerts/high/+", qos=1)
        async for message in client.messages:
            print(*map(json.loads(message.payload).get, ("patient", "state", "stage", "message")), flush=True)


asyncio.run(main(*sys.argv[1:]))

"""How alerts leave: from the topic `alerts` to whoever subscribed, over MQTT, webhook, e-mail and MLLP.

A shell: it decides nothing about alerts. `notification`, `retry`, `window` and `receipts` are its pure part; each
channel has a folder of its own and is one `channel.Channel`.
"""

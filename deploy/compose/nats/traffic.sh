#!/bin/sh
# The stream in the primary region, its mirror in DR, and messages.
set -eu
nats -s nats://nats-primary:4222 stream add ORDERS --subjects 'orders.>' --defaults >/dev/null 2>&1 || true
cat >/tmp/mirror.json <<'JSON'
{
  "name": "ORDERS_MIRROR", "retention": "limits", "storage": "file", "num_replicas": 1, "discard": "old",
  "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msgs_per_subject": -1, "max_msg_size": -1,
  "mirror": { "name": "ORDERS", "external": { "api": "$JS.primary.API", "deliver": "" } }
}
JSON
nats -s nats://nats-dr:4222 stream add ORDERS_MIRROR --config /tmp/mirror.json >/dev/null 2>&1 || true
while :; do
    nats -s nats://nats-primary:4222 pub orders.new 'order {{Count}}' --count 600 --sleep 100ms >/dev/null 2>&1 || sleep 1
done

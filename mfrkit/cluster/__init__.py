"""The per-image stages on many machines: shards as the tasks of a Ray cluster, then one result."""

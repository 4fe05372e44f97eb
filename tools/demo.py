"""The worked example of the mapping: four tasks on two packages, both GPUs at the first."""

import mpibind

topology = mpibind.Topology.from_synthetic(
    "package:2 [numa] core:18 pu:2(indexes=2*36:1*2)",
    gpus=[2, 0],
)
print(topology)
print(topology.map(4))

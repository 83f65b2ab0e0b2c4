"""The demo: the whole loop on scikit-learn's 1,797 real handwritten digits, as an exam form reader.

`run` plays it. What is read and the models that read are in `exam`; who says what about it in `people` and
`answers`; what goes wrong in `mischief`; the steps and what is printed in `examweek` and `afterwards`, from
`story`; where it is played in `venues`. Everything goes through the same doors as a product's: a server of
two processes, or a collector and a worker on Kafka and PostgreSQL; the real client over HTTP, the command
line, a real dataset release.
"""

from feedback.demo.story import run
from feedback.demo.venues import OnCluster, OnHome

__all__ = ["OnCluster", "OnHome", "run"]

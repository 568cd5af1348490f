"""An AWS account on this computer: S3, IAM, ECR, STS and Logs by moto, SageMaker training jobs and CodeBuild by us, run
for real.

    with Simulator() as aws:
        account = aws.make_account()
        os.environ.update(aws.environment())
        boto3.client("sagemaker").create_training_job(...)

moto accepts what AWS refuses and runs nothing; this control plane refuses it, and runs every job as a process, or in a
container of the image that was pushed.
"""

from orchestrator.simulator.attempt import QUICK, REALISTIC, Durations
from orchestrator.simulator.clock import Clock, ManualClock
from orchestrator.simulator.faults import Fault, Faults, chaos
from orchestrator.simulator.limits import Rate, instance_types
from orchestrator.simulator.server import Simulated, Simulator

__all__ = [
    "QUICK",
    "REALISTIC",
    "Clock",
    "Durations",
    "Fault",
    "Faults",
    "ManualClock",
    "Rate",
    "Simulated",
    "Simulator",
    "chaos",
    "instance_types",
]

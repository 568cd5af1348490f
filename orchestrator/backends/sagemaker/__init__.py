"""Jobs as SageMaker training jobs, in the user's own AWS account."""

"""umd on Railway: one service on one volume. `railway config plan` shows what it comes to, `apply` does it.

`UMD_REPOSITORY` names the repository that is deployed, as in `OWNER/umd`.
"""

import os

from railway_sdk import github, preserve, project, service, volume


def main(_context: object) -> object:
    """The resources of the project."""
    data = volume("umd-data")
    umd = service(
        "umd",
        source=github(os.environ.get("UMD_REPOSITORY", "OWNER/umd")),
        build={"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"},
        # A volume has one owner: no replicas, and the old deployment ends before the new one begins.
        replicas=1,
        volumeMounts={"/app/data": data},
        # Railway mounts volumes for root: the entry point hands them over and gives root up.
        # The keys are a secret: they are set there, and kept.
        env={"RAILWAY_RUN_UID": "0", "UMD_API_KEYS": preserve()},
        healthcheck="/api/v1/health/ready",
        healthcheckTimeout=120,
        deploy={
            "restartPolicyType": "ON_FAILURE",
            "restartPolicyMaxRetries": 10,
            "drainingSeconds": 60,
            "overlapSeconds": 0,
            "requiredMountPath": "/app/data",
        },
    )
    return project("umd", resources=[data, umd])

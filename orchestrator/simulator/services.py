"""The other services that the product calls and moto lacks: Service Quotas, the price list, IAM's policy simulation.

Each is a function from a request to a reply; they keep nothing.
"""

from __future__ import annotations

import base64
import json
import urllib.parse
from typing import Any
from xml.sax.saxutils import escape

from orchestrator.simulator.account import NUMBER
from orchestrator.simulator.limits import KINDS, Quotas, instance_types, quota_code, quota_name
from orchestrator.simulator.registry import USER, Registry
from orchestrator.simulator.wire import ApiError, Reply

PRICES = {
    "ml.m5.large": 0.12,
    "ml.m5.xlarge": 0.25,
    "ml.c5.xlarge": 0.2,
    "ml.g4dn.xlarge": 0.75,
    "ml.g5.xlarge": 1.5,
    "ml.g5.2xlarge": 1.6,
    "ml.g6.xlarge": 1.2,
    "ml.p3.2xlarge": 4.0,
}
"""USD an hour, made up: round figures that nobody takes for AWS' own."""


def service_quota(quotas: Quotas, region: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """GetServiceQuota and ListServiceQuotas, of SageMaker's training machines."""
    if request.get("ServiceCode") != "sagemaker":
        raise ApiError("NoSuchResourceException", f"The simulator has no quotas of {request.get('ServiceCode')}.")
    types = instance_types()
    if operation == "GetServiceQuota":
        for instance_type in types:
            for kind in KINDS:
                if quota_code(quota_name(instance_type, kind)) == request.get("QuotaCode"):
                    return {"Quota": quotas.shown(instance_type, kind, region, NUMBER)}
        raise ApiError("NoSuchResourceException", "The request failed because the specified quota does not exist.")
    everything = [(instance_type, kind) for instance_type in types for kind in KINDS]
    try:
        start, size = int(request.get("NextToken", "0")), int(request.get("MaxResults", 100))
    except ValueError:
        raise ApiError("InvalidPaginationTokenException", "Invalid NextToken.") from None
    cut = everything[start : start + size]
    reply: dict[str, Any] = {"Quotas": [quotas.shown(*one, region, NUMBER) for one in cut]}
    if start + size < len(everything):
        reply["NextToken"] = str(start + size)
    return reply


def products(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """GetProducts of AmazonSageMaker: each type's on-demand training price, as the price list words it."""
    if operation != "GetProducts" or request.get("ServiceCode") != "AmazonSageMaker":
        raise ApiError("NotFoundException", f"The simulator prices AmazonSageMaker only, not {operation}.")
    found = []
    for instance_type, price in PRICES.items():
        attributes = {
            "servicecode": "AmazonSageMaker",
            "regionCode": "us-east-1",
            "location": "US East (N. Virginia)",
            "instanceName": instance_type,
            "instanceType": f"{instance_type}-Training",
            "component": "Training",
            "usagetype": f"USE1-Train:{instance_type}",
        }
        filters = request.get("Filters", [])
        if all(attributes.get(one["Field"]) == one["Value"] for one in filters if one.get("Type") == "TERM_MATCH"):
            found.append(_product(instance_type, price, attributes))
    return {"FormatVersion": "aws_v1", "PriceList": found}


def _product(instance_type: str, price: float, attributes: dict[str, str]) -> str:
    sku = "SIMULATED" + quota_code(instance_type)[2:]
    rate = {
        "unit": "Hrs",
        "pricePerUnit": {"USD": f"{price:.10f}"},
        "description": f"${price} per Hour for {instance_type}-Training in US East (N. Virginia) (simulated)",
        "beginRange": "0",
        "endRange": "Inf",
        "appliesTo": [],
    }
    term = {"sku": sku, "termAttributes": {}, "priceDimensions": {f"{sku}.T.R": rate}}
    product = {"productFamily": "ML Instance", "attributes": attributes, "sku": sku}
    return json.dumps(
        {
            "product": product,
            "serviceCode": "AmazonSageMaker",
            "terms": {"OnDemand": {f"{sku}.T": term}},
            "version": "1",
            "publicationDate": "2026-01-01T00:00:00Z",
        }
    )


NO_REGISTRY = "The simulated account has no registry: swatch simulate --docker"


def authorization(registry: Registry | None, host: str) -> dict[str, Any]:
    """GetAuthorizationToken. It leads to this computer, or nowhere: what belongs to a simulated account is never pushed
    to AWS. Raises ApiError where there is no registry."""
    if registry is None:
        raise ApiError("InvalidParameterException", NO_REGISTRY)
    password, until = registry.login()
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()
    data = {"authorizationToken": token, "expiresAt": until, "proxyEndpoint": f"http://{host}"}
    return {"authorizationData": [data]}


def policy_simulation(body: bytes) -> Reply:
    """SimulatePrincipalPolicy: every action is allowed. Policies are not weighed here."""
    asked = urllib.parse.parse_qs(body.decode("utf-8", "replace"))
    actions = [values[0] for name, values in sorted(asked.items()) if name.startswith("ActionNames.member.")]
    resources = [values[0] for name, values in sorted(asked.items()) if name.startswith("ResourceArns.member.")]
    members = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resources[0] if resources else '*')}</EvalResourceName>"
        "<EvalDecision>allowed</EvalDecision><MatchedStatements/><MissingContextValues/></member>"
        for action in actions
    )
    xml = (
        '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{members}"
        "</EvaluationResults></SimulatePrincipalPolicyResult><ResponseMetadata><RequestId>simulated</RequestId>"
        "</ResponseMetadata></SimulatePrincipalPolicyResponse>"
    )
    return Reply(200, xml.encode(), "text/xml")

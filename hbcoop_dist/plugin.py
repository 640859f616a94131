"""Everything that the author of a plug-in imports: models, schemes, architectures, kinds of campaigns, clusters."""

from hbcoop_dist.campaigns.kind import CampaignKind, Comparison, Exporter, Plan
from hbcoop_dist.campaigns.spec_fields import CampaignError, CampaignSpec, read_spec
from hbcoop_dist.core.provenance import package_versions
from hbcoop_dist.core.results import Label, Provenance, Record, TaskResult
from hbcoop_dist.core.tasks import Batch, Requirements, canonical_json, content_key
from hbcoop_dist.store.codec import payload_types
from hbcoop_dist.store.schema import Axis, Schema, Table, Variable, status_variables, variables

__all__ = [
    "Axis",
    "Batch",
    "CampaignError",
    "CampaignKind",
    "CampaignSpec",
    "Comparison",
    "Exporter",
    "Label",
    "Plan",
    "Provenance",
    "Record",
    "Requirements",
    "Schema",
    "Table",
    "TaskResult",
    "Variable",
    "canonical_json",
    "content_key",
    "package_versions",
    "payload_types",
    "read_spec",
    "status_variables",
    "variables",
]

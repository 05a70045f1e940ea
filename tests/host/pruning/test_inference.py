"""How the host opens models."""

from edgepareto.host.pruning.inference import open_session
from fakes.models import classifier


def test_integers_are_exact_on_an_x86_without_vnni_as_well():
    """Nothing else can be asked of a processor that has it; docs/int8.md has what an emulated one gave."""
    options = open_session(classifier().SerializeToString()).get_session_options()
    assert options.get_session_config_entry("session.x64quantprecision") == "1"


def test_integers_are_exact_on_an_x86_without_vnni_as_well():
    """Nothing else can be asked of a processor that has it; docs/int8.md has what an emulated one gave."""
    options = open_session(classifier().SerializeToString()).get_session_options()
    assert options.get_session_config_entry("session.x64quantprecision") == "1"

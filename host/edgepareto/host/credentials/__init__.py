"""Who we are to the boards and who they are to us: certificates, and the folder they are kept in. No network."""

from edgepareto.host.credentials.card import BoardCard, card_text, read_card
from edgepareto.host.credentials.certificates import (
    CertificateFacts,
    certificate_facts,
    server_name,
    short_fingerprint,
)
from edgepareto.host.credentials.dialling import ClientCredentials, client_credentials, dialling_order, read_authority
from edgepareto.host.credentials.identity import (
    BoardCredentials,
    Identity,
    check_identity,
    credentials_folder,
    issue_board_credentials,
    own_identity,
)
from edgepareto.host.credentials.rotation import (
    Rotation,
    abandon_rotation,
    begin_rotation,
    finish_rotation,
    mark_moved,
    mark_returned,
    open_rotation,
)

__all__ = [
    "BoardCard",
    "BoardCredentials",
    "CertificateFacts",
    "ClientCredentials",
    "Identity",
    "Rotation",
    "abandon_rotation",
    "begin_rotation",
    "card_text",
    "certificate_facts",
    "check_identity",
    "client_credentials",
    "credentials_folder",
    "dialling_order",
    "finish_rotation",
    "issue_board_credentials",
    "mark_moved",
    "mark_returned",
    "open_rotation",
    "own_identity",
    "read_authority",
    "read_card",
    "server_name",
    "short_fingerprint",
]

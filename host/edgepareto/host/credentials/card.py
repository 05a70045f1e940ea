"""What a board's owner hands to a colleague: how the board is dialled and whom to believe that it is it. No secrets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.config.address import address_problem
from edgepareto.host.config.devices import BOARD_ID, NAME, NAME_RULE
from edgepareto.host.config.section import Section
from edgepareto.host.config.toml_file import read_toml
from edgepareto.host.credentials.certificates import certificate_facts
from edgepareto.host.errors import ConfigError

__all__ = ["BoardCard", "card_text", "read_card"]

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardCard:
    """name: as its owner calls it. ca_pem: the authority of the board's certificate. granted_by: its owner."""

    name: str
    address: str
    board_id: str
    ca_pem: bytes
    granted_by: str


def card_text(card: BoardCard) -> str:
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment(f"How to reach a board of {card.granted_by}; nothing in here is secret."))
    document.add(tomlkit.comment(f"On your machine: host devices add {card.name} --card THIS_FILE"))
    values = {
        "schema": SCHEMA,
        "name": card.name,
        "address": card.address,
        "board_id": card.board_id,
        "granted_by": card.granted_by,
    }
    for key, value in values.items():
        document.add(key, tomlkit.item(value))
    document.add("ca", tomlkit.string(f"\n{card.ca_pem.decode()}", multiline=True))
    return tomlkit.dumps(document)


def read_card(file: Path) -> BoardCard:
    """Raises ConfigError with the line, for whatever is not as `card_text` writes it."""
    section = Section(read_toml(file), (), {})
    schema, name, address = section.integer("schema", least=1), section.text("name"), section.text("address")
    board_id, granted_by, ca = section.text("board_id"), section.text("granted_by"), section.text("ca")
    section.refuse_unknown()
    if name is None or address is None or board_id is None or ca is None or schema is None:
        raise ConfigError(
            f"{file.name}: is no card of a board; it needs schema, name, address, board_id and ca, as host devices "
            "grant writes them"
        )
    if schema != SCHEMA:
        raise section.error("schema", f"must be {SCHEMA}; install a newer edgepareto")
    if NAME.fullmatch(name) is None:
        raise section.error("name", f"a device's name {NAME_RULE}")
    if problem := address_problem(address):
        raise section.error("address", problem)
    if BOARD_ID.fullmatch(board_id) is None:
        raise section.error("board_id", "must be 1 to 48 lower-case letters, digits and -")
    try:
        is_authority = certificate_facts(ca.encode()).is_authority
    except ValueError as error:
        raise ConfigError(f"{file.name}: ca is no certificate ({error}); ask for the card again") from error
    if not is_authority or "PRIVATE KEY" in ca:
        raise ConfigError(f"{file.name}: ca must be the certificate of an authority alone; ask for the card again")
    return BoardCard(
        name=name, address=address, board_id=board_id, ca_pem=ca.encode(), granted_by=granted_by or "unknown"
    )

"""What every adapter of ``server.service.ports.Store`` does.

Subclass StoreContract and give a ``store`` fixture with an empty store of epoch "first", and a
``places`` fixture: see ``contract_terms``.
"""

from tests.storage.contract_applications import ApplicationContract
from tests.storage.contract_commits import CommitContract
from tests.storage.contract_housekeeping import HousekeepingContract
from tests.storage.contract_lists import ListContract
from tests.storage.contract_outbox import OutboxContract
from tests.storage.contract_rows import MarkContract, RevocationContract
from tests.storage.contract_terms import TermContract
from tests.storage.contract_visibility import MembershipContract


class StoreContract(
    CommitContract,
    MembershipContract,
    ListContract,
    MarkContract,
    RevocationContract,
    ApplicationContract,
    HousekeepingContract,
    OutboxContract,
    TermContract,
):
    """All of it."""

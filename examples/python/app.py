import wit_world
from componentize_py_types import Err
from wit_world.imports import credentials


class WitWorld(wit_world.WitWorld):
    async def ends(self, scope: str) -> int:
        try:
            token = credentials.peek_token(scope) or await credentials.get_token(scope)
        except Err as error:
            raise Err(words(error.value))
        return token.expires_on


def words(error) -> str:
    """A text, or what each source answered."""
    reasons = error.value if isinstance(error.value, list) else [error.value]
    kind = type(error).__name__.removeprefix("Error_")
    return f"{kind}: " + " | ".join(
        reason if isinstance(reason, str)
        else f"{reason.message}; fix: {reason.remedy}" if reason.remedy
        else reason.message
        for reason in reasons
    )

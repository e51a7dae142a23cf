"""hello greets by name, over HTTP and from scripts, and can remember whom it met."""

from kernel import Context, Plugin

hello = Plugin("hello", version="1.0.0", capabilities=["memory:write:own"])


@hello.get("/api/hello/{name}")  # a route
@hello.function("greet", effect="free")  # hello.greet in .aether scripts, a tool for agents
async def greet(ctx: Context, name: str) -> str:
    """Return a greeting."""
    return f"Hello, {name}!"


@hello.post("/api/hello/{name}")
@hello.function("meet", effect="staged")
async def meet(ctx: Context, name: str) -> str:
    """Remember whom we met."""
    await ctx.service("memory").store(f"met {name}", tags=["hello"])
    return f"Nice to meet you, {name}!"

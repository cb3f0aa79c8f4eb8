def handle(body):
    name = body.strip() or "world"
    return f"Hello, {name}!\n"

"""Rooms as FastAPI's tutorial would have them: subscribe at /ws/TOPIC, publish text at /pub/TOPIC."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


class ConnectionManager:
    def __init__(self):
        self.rooms: dict[str, list[WebSocket]] = {}

    async def connect(self, topic: str, websocket: WebSocket):
        await websocket.accept()
        self.rooms.setdefault(topic, []).append(websocket)

    def disconnect(self, topic: str, websocket: WebSocket):
        room = self.rooms.get(topic, [])
        if websocket in room:
            room.remove(websocket)
        if not room:
            self.rooms.pop(topic, None)

    async def broadcast(self, topic: str, payload: str):
        # A copy: others come and go while this waits.
        for connection in list(self.rooms.get(topic, [])):
            try:
                await connection.send_text(payload)
            except (RuntimeError, WebSocketDisconnect):
                self.disconnect(topic, connection)


manager = ConnectionManager()


@app.websocket("/ws/{topic}")
async def subscribe(websocket: WebSocket, topic: str):
    await manager.connect(topic, websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        manager.disconnect(topic, websocket)


@app.websocket("/pub/{topic}")
async def publish(websocket: WebSocket, topic: str):
    await websocket.accept()
    try:
        while True:
            await manager.broadcast(topic, await websocket.receive_text())
    except WebSocketDisconnect:
        pass

#include "api/room.h"

#include "base/check.h"

#define PATIENCE_MS 5000

static uint64_t now_ms(const struct front *front)
{
    return io_loop_now_ms(front->config.loop);
}

static bool fits(const struct room *room, size_t bytes)
{
    return room->bytes == 0 || room->bytes + bytes <= FRONT_ROOM_BYTES_MAX;
}

static struct request *first_granted(const struct room *room)
{
    CHECK(!list_empty(&room->granted)); /* or there would be room for who waits */
    return LIST_ENTRY(room->granted.next, struct request, room_node);
}

static void arm(struct front *front)
{
    struct room *room = &front->room;
    if (list_empty(&room->waiting)) {
        io_loop_timer_stop(front->config.loop, &room->timer);
        return;
    }
    uint64_t since_ms = first_granted(room)->room_since_ms;
    if (since_ms < room->waiting_since_ms)
        since_ms = room->waiting_since_ms;
    io_loop_timer_at(front->config.loop, &room->timer, since_ms + PATIENCE_MS);
}

static void take(struct request *request)
{
    struct room *room = &request->front->room;
    room->bytes += request->room_bytes;
    request->has_room = true;
    request->room_since_ms = now_ms(request->front);
    list_push(&room->granted, &request->room_node);
}

/* The next connection's oldest; it goes behind the others if it wants more. */
static struct request *pop_waiting(struct room *room)
{
    struct client_conn *conn = LIST_ENTRY(room->waiting.next, struct client_conn, room_node);
    struct request *request = LIST_ENTRY(conn->room_waiting.next, struct request, room_node);
    if (!fits(room, request->room_bytes))
        return NULL;
    list_remove(&request->room_node);
    list_remove(&conn->room_node);
    if (!list_empty(&conn->room_waiting))
        list_push(&room->waiting, &conn->room_node);
    return request;
}

static void give(struct front *front)
{
    struct room *room = &front->room;
    struct request *request;
    while (!list_empty(&room->waiting) && (request = pop_waiting(room))) {
        take(request);
        rpc_call_grant(request->call);
        front_has_output(request->conn);
    }
    arm(front);
}

bool room_reserve(struct request *request, size_t bytes)
{
    struct room *room = &request->front->room;
    struct client_conn *conn = request->conn;
    CHECK(request->room_bytes == 0);
    request->room_bytes = bytes;
    if (list_empty(&room->waiting) && fits(room, bytes)) {
        take(request);
        return true;
    }
    if (list_empty(&room->waiting))
        room->waiting_since_ms = now_ms(request->front);
    if (list_empty(&conn->room_waiting))
        list_push(&room->waiting, &conn->room_node);
    list_push(&conn->room_waiting, &request->room_node);
    arm(request->front);
    return false;
}

void room_release(struct request *request)
{
    struct room *room = &request->front->room;
    if (request->room_bytes == 0)
        return;
    list_remove(&request->room_node);
    if (request->has_room)
        room->bytes -= request->room_bytes;
    else if (list_empty(&request->conn->room_waiting))
        list_remove(&request->conn->room_node);
    request->room_bytes = 0;
    request->has_room = false;
    give(request->front);
}

static void end_slow(void *ctx)
{
    struct front *front = ctx;
    struct request *request = first_granted(&front->room);
    if (now_ms(front) < request->room_since_ms + PATIENCE_MS) {
        arm(front);
        return;
    }
    front_guard_enter(front);
    request_fail_text(request, GRPC_RESOURCE_EXHAUSTED,
                      BYTES_LIT("grpc: a large message came too slowly while others waited"));
    front_guard_leave(front);
    room_release(request);
}

void room_init(struct front *front)
{
    list_init(&front->room.waiting);
    list_init(&front->room.granted);
    io_timer_init(&front->room.timer, end_slow, front);
}

void room_done(struct front *front)
{
    CHECK(list_empty(&front->room.granted) && front->room.bytes == 0);
    io_loop_timer_stop(front->config.loop, &front->room.timer);
}

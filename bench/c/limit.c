/* limit - the least that a relay over WebSockets can do on this machine, in C.
 *
 *   limit PORT each|turn
 *
 * A room is a request path; every frame of a client goes to all clients of its room. It checks nothing, limits
 * nothing, knows nobody: what it costs is the kernel's price, and what a real server is compared with.
 * each: one send() a delivery. turn: what one turn of the loop brings for a client leaves with one send().
 */
#include "common.h"

typedef struct Room Room;

typedef struct {
  int fd, open, dirty;
  size_t place; /* among the room's clients */
  Room *room;   /* NULL until the handshake */
  Bytes in, out;
} Client;

struct Room {
  char *path;
  Client **clients;
  size_t count, size;
  Room *next;
};

enum { BUCKETS = 65536, CHUNK = 1 << 18 };

static Room *rooms[BUCKETS];
static int epoll, by_turn;
static Client **dirty; /* those that something waits for, in this turn */
static size_t dirty_count, dirty_size;

static Room *room_at(const char *path, size_t length) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ (uint8_t)path[i]) * 16777619u;
  Room **slot = &rooms[hash % BUCKETS];
  for (; *slot; slot = &(*slot)->next)
    if (strlen((*slot)->path) == length && !memcmp((*slot)->path, path, length))
      return *slot;
  *slot = calloc(1, sizeof **slot);
  (*slot)->path = strndup(path, length);
  return *slot;
}

static void enter(Client *client, Room *room) {
  if (room->count == room->size) {
    room->size = 2 * room->size + 8;
    room->clients = realloc(room->clients, room->size * sizeof *room->clients);
  }
  client->room = room;
  client->place = room->count;
  room->clients[room->count++] = client;
}

/* Its memory stays: events of this turn may still point to it, and the program lives for seconds. */
static void leave(Client *client) {
  close(client->fd);
  client->open = 0;
  Room *room = client->room;
  if (room) {
    room->clients[client->place] = room->clients[--room->count];
    room->clients[client->place]->place = client->place;
  }
}

static void flush(Client *client) {
  ssize_t sent = send(client->fd, client->out.data, client->out.size, MSG_NOSIGNAL);
  if (sent > 0)
    bytes_drop(&client->out, (size_t)sent);
  watch(epoll, EPOLL_CTL_MOD, client->fd, client->out.size > 0, client);
}

static void deliver(Client *client, const char *data, size_t size) {
  if (by_turn) {
    bytes_add(&client->out, data, size);
    if (!client->dirty) {
      if (dirty_count == dirty_size)
        dirty = realloc(dirty, (dirty_size = 2 * dirty_size + 64) * sizeof *dirty);
      client->dirty = 1;
      dirty[dirty_count++] = client;
    }
    return;
  }
  if (client->out.size == 0) {
    ssize_t sent = send(client->fd, data, size, MSG_NOSIGNAL);
    if (sent == (ssize_t)size)
      return;
    size_t done = sent > 0 ? (size_t)sent : 0;
    data += done;
    size -= done;
    watch(epoll, EPOLL_CTL_MOD, client->fd, 1, client);
  }
  bytes_add(&client->out, data, size);
}

static void end_turn(void) {
  for (size_t i = 0; i < dirty_count; i++) {
    Client *client = dirty[i];
    client->dirty = 0;
    if (client->open) {
      ssize_t sent = send(client->fd, client->out.data, client->out.size, MSG_NOSIGNAL);
      if (sent == (ssize_t)client->out.size)
        client->out.size = 0;
      else {
        bytes_drop(&client->out, sent > 0 ? (size_t)sent : 0);
        watch(epoll, EPOLL_CTL_MOD, client->fd, 1, client);
      }
    }
  }
  dirty_count = 0;
}

static size_t shake_hands(Client *client, const char *data, size_t size) {
  /* The answer to the one key that the generator sends. */
  static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
  const char *end = memmem(data, size, "\r\n\r\n", 4);
  if (!end)
    return 0;
  const char *path = data + strlen("GET ");
  enter(client, room_at(path, strcspn(path, " ")));
  send(client->fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
  return (size_t)(end + 4 - data);
}

static void relay(Client *client, const char *data, const FrameHead *head) {
  static char frame[CHUNK + 16];
  size_t header = write_frame_head(frame, head->opcode, head->payload);
  const char *mask = data + head->header - 4, *payload = data + head->header;
  for (size_t i = 0; i < head->payload; i++)
    frame[header + i] = payload[i] ^ mask[i & 3];
  for (size_t i = 0; i < client->room->count; i++)
    deliver(client->room->clients[i], frame, header + head->payload);
}

/* What of the bytes is whole is acted on; gives how much that is. */
static size_t act(Client *client, const char *data, size_t size) {
  size_t done = client->room ? 0 : shake_hands(client, data, size);
  FrameHead head;
  while (client->room && read_frame_head(data + done, size - done, &head)) {
    if (head.opcode == 8 || head.payload > CHUNK) {
      leave(client);
      return size;
    }
    if (head.opcode <= 2)
      relay(client, data + done, &head);
    done += head.header + head.payload;
  }
  return done;
}

static void receive(Client *client) {
  static char chunk[CHUNK];
  ssize_t got = recv(client->fd, chunk, sizeof chunk, 0);
  if (got <= 0) {
    if (got == 0 || errno != EAGAIN)
      leave(client);
    return;
  }
  if (client->in.size == 0) {
    size_t done = act(client, chunk, (size_t)got);
    bytes_add(&client->in, chunk + done, (size_t)got - done);
  } else {
    bytes_add(&client->in, chunk, (size_t)got);
    bytes_drop(&client->in, act(client, client->in.data, client->in.size));
  }
}

static void accept_all(int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
    Client *client = calloc(1, sizeof *client);
    client->fd = fd;
    client->open = 1;
    no_delay(fd);
    watch(epoll, EPOLL_CTL_ADD, fd, 0, client);
  }
}

int main(int argc, char **argv) {
  if (argc != 3)
    return fprintf(stderr, "usage: limit PORT each|turn\n"), 2;
  by_turn = !strcmp(argv[2], "turn");
  raise_descriptor_limit();
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = loopback(atoi(argv[1]));
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
    return perror("limit"), 1;
  epoll = epoll_create1(0);
  watch(epoll, EPOLL_CTL_ADD, listener, 0, NULL);
  static struct epoll_event events[1024];
  for (;;) {
    int count = epoll_wait(epoll, events, 1024, -1);
    for (int i = 0; i < count; i++) {
      Client *client = events[i].data.ptr;
      if (!client)
        accept_all(listener);
      else if (client->open) {
        if (events[i].events & EPOLLOUT)
          flush(client);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
          receive(client);
      }
    }
    end_turn();
  }
}

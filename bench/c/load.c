/* load - many WebSocket clients in one thread: joins, holds, publishes, and measures what arrives.
 *
 *   load -r ROOMS -n MEMBERS [options] PORT
 *     -f FILE     a line for each room; its words are %1 %2
 *     -p PATH     of the request
 *     -o FRAME    first frames, each one sent when what the one before it waited for has come
 *     -w TEXT     what the last -o waits for
 *     -e TEXT     frames with this text are counted, by second and connection, from each one's joining on
 *     -b          frames are binary
 *     -c COUNT    connections that are being made at once
 *     -m FRAME    what is published; without it nothing is
 *     -s COUNT    members of each room that speak
 *     -t SECONDS  of publishing
 *     -k COUNT    messages under way at once, over all rooms: as fast as they come back; or
 *     -q RATE     messages a second, whatever comes back
 *
 * In FRAME and PATH %r is the room's number, %m the member's, and %T a mark with the time: every mark that comes
 * back counts as one delivery and gives its latency. With -q the time is when the message was due, not when it
 * could be sent, so that a generator held up by the server does not hide that.
 *
 * It prints a line of JSON when all have joined, and waits, answering pings, for a line on standard input; then
 * publishes, and prints another when the last copy has come. Whoever runs it looks at the server in between.
 */
#include "common.h"
#include <poll.h>

enum { MAX_STEPS = 4, CHUNK = 1 << 18, FRAME = 1 << 18, FINE = 10000, BUCKETS = 3 * FINE, DRAIN_S = 5, STALL_S = 20 };

typedef enum { CONNECTING, UPGRADING, JOINING, JOINED, LOST } Phase;

typedef struct {
  int fd, room, member, step;
  Phase phase;
  Bytes in, out;
  uint32_t second, told, told_most;
} Client;

typedef struct {
  const char *send, *until;
} Step;

static int port, room_count = 1, member_count = 1, speaker_count = 1, at_once = 100, opcode = 1, in_flight = 1;
static double publish_s, rate;
static const char *path = "/", *message, *counted;
static Step steps[MAX_STEPS];
static int step_count;
static char *(*words)[2]; /* by room */
static Client *clients;
static int epoll, total, joined, lost, opening;
static uint64_t published, delivered, counted_frames, measured_from;
static uint32_t latency[BUCKETS + 1]; /* by us up to 10 ms, by 100 us up to 1 s, by 10 ms up to 100 s */

static void count_latency(uint64_t us) {
  uint64_t bucket = us < FINE ? us : us < 100 * FINE ? FINE + us / 100 : 2 * FINE + us / 10000;
  latency[bucket < BUCKETS ? bucket : BUCKETS]++;
}

static double latency_ms(double quantile) {
  uint64_t seen = 0, wanted = (uint64_t)(quantile * (double)delivered);
  int bucket = 0;
  while (bucket < BUCKETS && (seen += latency[bucket]) <= wanted)
    bucket++;
  return (bucket < FINE ? bucket : bucket < 2 * FINE ? (bucket - FINE) * 100.0 : (bucket - 2 * FINE) * 1e4) / 1000;
}

/* Writes the template with what belongs to this client and that time. */
static size_t fill(char *out, const char *template, const Client *client, uint64_t time) {
  char *start = out;
  for (; *template; template++) {
    if (*template != '%') {
      *out++ = *template;
      continue;
    }
    switch (*++template) {
    case 'r': out += sprintf(out, "%06d", client->room); break;
    case 'm': out += sprintf(out, "%06d", client->member); break;
    case 'T': out += sprintf(out, "~%016llx", (unsigned long long)time); break;
    case '1': out = stpcpy(out, words[client->room][0]); break;
    case '2': out = stpcpy(out, words[client->room][1]); break;
    default: *out++ = *template;
    }
  }
  return (size_t)(out - start);
}

static void lose(Client *client, const char *why) {
  if (lost++ < 3)
    fprintf(stderr, "load: member %d of room %d is lost: %s\n", client->member, client->room, why);
  *(client->phase == JOINED ? &joined : &opening) -= 1;
  client->phase = LOST;
  close(client->fd);
}

static void write_out(Client *client, const char *data, size_t size) {
  bytes_add(&client->out, data, size);
  ssize_t sent = send(client->fd, client->out.data, client->out.size, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) {
    lose(client, strerror(errno));
    return;
  }
  size_t before = client->out.size;
  bytes_drop(&client->out, sent > 0 ? (size_t)sent : 0);
  if (client->out.size || before > size)
    watch(epoll, EPOLL_CTL_MOD, client->fd, client->out.size > 0, client);
}

static void send_frame(Client *client, int kind, const char *payload, size_t size) {
  static const char mask[4] = {0x37, (char)0xfa, 0x21, 0x3d};
  static char frame[FRAME];
  size_t header = write_frame_head(frame, kind, size);
  frame[1] |= (char)0x80;
  memcpy(frame + header, mask, 4);
  header += 4;
  for (size_t i = 0; i < size; i++)
    frame[header + i] = payload[i] ^ mask[i & 3];
  write_out(client, frame, header + size);
}

static void send_filled(Client *client, const char *template, uint64_t time) {
  static char payload[FRAME];
  send_frame(client, opcode, payload, fill(payload, template, client, time));
}

static void next_step(Client *client) {
  if (client->step < step_count)
    send_filled(client, steps[client->step].send, now_ns());
  else {
    client->phase = JOINED;
    opening--;
    joined++;
  }
}

static void count_frame(Client *client, uint64_t now) {
  uint32_t second = (uint32_t)(now / 1000000000u);
  if (client->second != second) {
    client->second = second;
    client->told = 0;
  }
  if (++client->told > client->told_most)
    client->told_most = client->told;
  counted_frames++;
}

static void hear(Client *client, const char *payload, size_t size, uint64_t now) {
  if (client->phase == JOINING) {
    const char *until = steps[client->step].until;
    if (!until || memmem(payload, size, until, strlen(until))) {
      client->step++;
      next_step(client);
    }
    return;
  }
  if (counted && memmem(payload, size, counted, strlen(counted)))
    count_frame(client, now);
  const char *end = payload + size;
  while (end - payload > 16 && (payload = memchr(payload, '~', (size_t)(end - payload) - 16))) {
    char digits[17] = "";
    memcpy(digits, ++payload, 16);
    uint64_t time = strtoull(digits, NULL, 16);
    if (measured_from && time >= measured_from) {
      delivered++;
      count_latency(now > time ? (now - time) / 1000 : 0);
    }
  }
}

/* What of the bytes is whole is acted on; gives how much that is. */
static size_t act(Client *client, const char *data, size_t size, uint64_t now) {
  size_t done = 0;
  FrameHead head;
  if (client->phase == UPGRADING) {
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end)
      return 0;
    if (!memmem(data, size, " 101 ", 5)) {
      lose(client, "its handshake is refused");
      return size;
    }
    done = (size_t)(end + 4 - data);
    client->phase = JOINING;
    next_step(client);
  }
  while (client->phase != LOST && read_frame_head(data + done, size - done, &head)) {
    const char *payload = data + done + head.header;
    if (head.opcode == 9)
      send_frame(client, 10, payload, head.payload);
    else if (head.opcode == 8)
      lose(client, "the server closes");
    else if (head.opcode <= 2)
      hear(client, payload, head.payload, now);
    done += head.header + head.payload;
  }
  return client->phase == LOST ? size : done;
}

static void receive(Client *client) {
  static char chunk[CHUNK];
  ssize_t got = recv(client->fd, chunk, sizeof chunk, 0);
  if (got <= 0) {
    if (got == 0 || errno != EAGAIN)
      lose(client, got ? strerror(errno) : "the server is gone");
    return;
  }
  uint64_t now = now_ns();
  if (client->in.size == 0) {
    size_t done = act(client, chunk, (size_t)got, now);
    bytes_add(&client->in, chunk + done, (size_t)got - done);
  } else {
    bytes_add(&client->in, chunk, (size_t)got);
    bytes_drop(&client->in, act(client, client->in.data, client->in.size, now));
  }
}

static void upgrade(Client *client) {
  char request[2048], where[1024];
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) {
    lose(client, strerror(error));
    return;
  }
  where[fill(where, path, client, 0)] = 0;
  int length = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        where, port);
  client->phase = UPGRADING;
  watch(epoll, EPOLL_CTL_MOD, client->fd, 0, client);
  write_out(client, request, (size_t)length);
}

static void turn(int timeout_ms) {
  static struct epoll_event events[1024];
  int count = epoll_wait(epoll, events, 1024, timeout_ms);
  for (int i = 0; i < count; i++) {
    Client *client = events[i].data.ptr;
    if (client->phase == CONNECTING)
      upgrade(client);
    else if (client->phase != LOST) {
      if (events[i].events & EPOLLOUT)
        write_out(client, "", 0);
      if (client->phase != LOST && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(client);
    }
  }
}

static void open_all(void) {
  uint64_t start = now_ns(), moved = start;
  int started = 0, settled = 0;
  while (joined + lost < total && now_ns() - moved < STALL_S * 1000000000ull) {
    for (; started < total && opening < at_once; started++, opening++) {
      Client *client = &clients[started];
      client->room = started / member_count;
      client->member = started % member_count;
      client->fd = start_connecting(port);
      watch(epoll, EPOLL_CTL_ADD, client->fd, 1, client);
    }
    turn(100);
    if (joined + lost != settled) {
      settled = joined + lost;
      moved = now_ns();
    }
  }
  printf("{\"joined\": %d, \"lost\": %d, \"join_s\": %.4f}\n", joined, lost, (double)(now_ns() - start) / 1e9);
  fflush(stdout);
}

/* Until a line comes on standard input; without one ever, it ends. */
static void hold(void) {
  char line[64];
  struct pollfd word = {.fd = STDIN_FILENO, .events = POLLIN};
  while (poll(&word, 1, 0) == 0)
    turn(10);
  if (!fgets(line, sizeof line, stdin))
    exit(0);
}

/* One message, of the next room and then of its next speaker. */
static void publish(uint64_t time) {
  uint64_t room = published % (uint64_t)room_count, member = published / (uint64_t)room_count % (uint64_t)speaker_count;
  Client *client = &clients[room * (uint64_t)member_count + member];
  published++;
  if (client->phase == JOINED)
    send_filled(client, message, time);
}

static int is_due(uint64_t now) {
  if (rate > 0)
    return (double)published < (double)(now - measured_from) / 1e9 * rate;
  return published - delivered / (uint64_t)member_count < (uint64_t)in_flight;
}

static void measure(void) {
  double cpu = cpu_seconds();
  uint64_t start = measured_from = now_ns(), end = start + (uint64_t)(publish_s * 1e9), now;
  while ((now = now_ns()) < end) {
    for (int burst = 0; burst < 64 && is_due(now); burst++)
      publish(rate > 0 ? start + (uint64_t)((double)published / rate * 1e9) : now_ns());
    /* At a fixed rate it never sleeps: waking up would be part of what it measures. */
    turn(rate > 0 || is_due(now) ? 0 : 100);
  }
  double seconds = (double)(now_ns() - start) / 1e9, busy = (cpu_seconds() - cpu) / seconds;
  uint64_t in_time = delivered, expected = published * (uint64_t)member_count, moved = now_ns(), before = delivered;
  while (delivered < expected && now_ns() - moved < DRAIN_S * 1000000000ull) {
    turn(10);
    if (delivered != before) {
      before = delivered;
      moved = now_ns();
    }
  }
  printf("{\"seconds\": %.4f, \"published\": %llu, \"expected\": %llu, \"delivered\": %llu, \"in_time\": %llu, "
         "\"lost\": %d, \"generator_busy\": %.3f, \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, "
         "\"p999_ms\": %.3f}\n",
         seconds, (unsigned long long)published, (unsigned long long)expected, (unsigned long long)delivered,
         (unsigned long long)in_time, lost, busy, latency_ms(.5), latency_ms(.9), latency_ms(.99), latency_ms(.999));
}

static void report_counted(void) {
  uint32_t most = 0;
  for (int i = 0; i < total; i++)
    if (clients[i].told_most > most)
      most = clients[i].told_most;
  printf("{\"lost\": %d, \"counted\": %llu, \"counted_most\": %u}\n", lost, (unsigned long long)counted_frames, most);
}

static void read_words(const char *file_name) {
  FILE *file = fopen(file_name, "r");
  words = calloc((size_t)room_count, sizeof *words);
  char first[256], second[256];
  for (int room = 0; room < room_count; room++) {
    if (!file || fscanf(file, "%255s %255s", first, second) != 2) {
      fprintf(stderr, "load: %s has no line for each room\n", file_name);
      exit(2);
    }
    words[room][0] = strdup(first);
    words[room][1] = strdup(second);
  }
  fclose(file);
}

int main(int argc, char **argv) {
  const char *file_name = NULL;
  for (int option; (option = getopt(argc, argv, "f:p:o:w:e:bc:r:n:m:s:t:k:q:")) != -1;)
    switch (option) {
    case 'f': file_name = optarg; break;
    case 'p': path = optarg; break;
    case 'o':
      if (step_count == MAX_STEPS)
        return 2;
      steps[step_count++].send = optarg;
      break;
    case 'w': steps[step_count ? step_count - 1 : 0].until = optarg; break;
    case 'e': counted = optarg; break;
    case 'b': opcode = 2; break;
    case 'c': at_once = atoi(optarg); break;
    case 'r': room_count = atoi(optarg); break;
    case 'n': member_count = atoi(optarg); break;
    case 'm': message = optarg; break;
    case 's': speaker_count = atoi(optarg); break;
    case 't': publish_s = atof(optarg); break;
    case 'k': in_flight = atoi(optarg); break;
    case 'q': rate = atof(optarg); break;
    default: return 2;
    }
  if (argc - optind != 1)
    return fprintf(stderr, "usage: load -r ROOMS -n MEMBERS [options] PORT\n"), 2;
  port = atoi(argv[optind]);
  raise_descriptor_limit();
  if (file_name)
    read_words(file_name);
  total = room_count * member_count;
  clients = calloc((size_t)total, sizeof *clients);
  epoll = epoll_create1(0);
  open_all();
  hold();
  if (message)
    measure();
  else
    report_counted();
  return 0;
}

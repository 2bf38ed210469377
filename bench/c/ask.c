/* ask - the same HTTP request again and again, over connections that are kept: how many answers a second.
 *
 *   ask -c CONNECTIONS (-t SECONDS | -n ANSWERS) PORT < REQUEST
 *
 * REQUEST is the whole of it, headers and body, as it goes over the wire. Answers need a Content-Length.
 */
#include "common.h"

enum { CHUNK = 1 << 16 };

typedef struct {
  int fd;
  Bytes in;
} Connection;

static char request[CHUNK];
static size_t request_size;
static uint64_t asked, answered, refused, most = UINT64_MAX;

static void ask(Connection *connection) {
  if (asked++ < most && send(connection->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) {
    perror("ask");
    exit(1);
  }
}

/* Length of the first answer; 0 while it is not all there. */
static size_t whole_answer(const Bytes *in) {
  const char *end = memmem(in->data, in->size, "\r\n\r\n", 4);
  if (!end)
    return 0;
  size_t head = (size_t)(end + 4 - in->data), body = 0;
  for (const char *line = in->data; line < end; line = (const char *)memchr(line, '\n', in->size) + 1)
    if (!strncasecmp(line, "content-length:", 15))
      body = strtoul(line + 15, NULL, 10);
  return in->size >= head + body ? head + body : 0;
}

static void receive(Connection *connection) {
  char chunk[CHUNK];
  ssize_t got = recv(connection->fd, chunk, sizeof chunk, 0);
  if (got < 0 && errno == EAGAIN)
    return;
  if (got <= 0) {
    fprintf(stderr, "ask: the server closes\n");
    exit(1);
  }
  bytes_add(&connection->in, chunk, (size_t)got);
  for (size_t size; (size = whole_answer(&connection->in));) {
    answered++;
    if (memcmp(connection->in.data, "HTTP/1.1 2", 10)) {
      if (!refused++)
        fprintf(stderr, "ask: %.*s\n", (int)size, connection->in.data);
    }
    bytes_drop(&connection->in, size);
    ask(connection);
  }
}

int main(int argc, char **argv) {
  int count = 1;
  double seconds = 3600;
  for (int option; (option = getopt(argc, argv, "c:t:n:")) != -1;)
    switch (option) {
    case 'c': count = atoi(optarg); break;
    case 't': seconds = atof(optarg); break;
    case 'n': most = strtoull(optarg, NULL, 10); break;
    default: return 2;
    }
  if (argc - optind != 1)
    return fprintf(stderr, "usage: ask -c CONNECTIONS (-t SECONDS | -n ANSWERS) PORT < REQUEST\n"), 2;
  request_size = fread(request, 1, sizeof request, stdin);
  int epoll = epoll_create1(0);
  Connection *connections = calloc((size_t)count, sizeof *connections);
  struct sockaddr_in address = loopback(atoi(argv[optind]));
  for (int i = 0; i < count; i++) {
    connections[i].fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connections[i].fd, (struct sockaddr *)&address, sizeof address))
      return perror("ask"), 1;
    no_delay(connections[i].fd);
    watch(epoll, EPOLL_CTL_ADD, connections[i].fd, 0, &connections[i]);
  }
  double cpu = cpu_seconds();
  uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
  for (int i = 0; i < count; i++)
    ask(&connections[i]);
  struct epoll_event events[64];
  while (answered < most && now_ns() < end) {
    int ready = epoll_wait(epoll, events, 64, 100);
    for (int i = 0; i < ready; i++)
      receive(events[i].data.ptr);
  }
  double took = (double)(now_ns() - start) / 1e9;
  printf("{\"seconds\": %.4f, \"answered\": %llu, \"refused\": %llu, \"generator_busy\": %.3f}\n", took,
         (unsigned long long)answered, (unsigned long long)refused, (cpu_seconds() - cpu) / took);
  return 0;
}

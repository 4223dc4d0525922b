/* C on libuv: a callback for whatever has happened to a client. Stands for: the loop below Node.js and uvloop, without a
 * language on top of it. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { max_line = 100, max_n = 50, longest_reply = 64 };

typedef struct {
    uv_tcp_t socket;
    uv_write_t write;
    char line[max_line + 1]; /* one more than allowed, to notice it */
    size_t length;
    int ended;      /* nothing more will come */
    char* replies;  /* to what one read has brought, until they are sent */
} Client;

static char input[65536]; /* a loop has one read at a time */

static uint64_t fib(unsigned n) { return n <= 2 ? 1 : fib(n - 1) + fib(n - 2); }

static const char* trim(char* text)
{
    text += strspn(text, " \t\v\f");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\v\f", text[length - 1]) != NULL) {
        text[--length] = '\0';
    }
    return text;
}

/* The reply to the line that is complete; how long it is. */
static int answer(Client* client, char* reply)
{
    if (client->length > max_line) {
        client->ended = 1;
        return sprintf(reply, "[Error] line longer than %d bytes\n", max_line);
    }
    /* A byte 0 would end the text, and is no digit. */
    const int has_zero = memchr(client->line, 0, client->length) != NULL;
    client->line[client->length] = '\0';
    client->length = 0;
    const char* const text = trim(client->line);
    const char* const digits = text + (*text == '-' || *text == '+');
    if (*text == '\0' && !has_zero) {
        return 0;
    }
    if (*digits == '\0' || has_zero || digits[strspn(digits, "0123456789")] != '\0') {
        return sprintf(reply, "[Error] not a number, send one like 30\n");
    }
    if (*text == '-') {
        return sprintf(reply, "[Error] negative number, the smallest is 0\n");
    }
    const unsigned long long n = strtoull(digits, NULL, 10);
    if (n > max_n) {
        return sprintf(reply, "[Error] number too large, the largest is %d\n", max_n);
    }
    return sprintf(reply, "%llu\n", (unsigned long long)fib((unsigned)n));
}

static void on_close(uv_handle_t* handle)
{
    Client* const client = handle->data;
    free(client->replies);
    free(client);
}

static void hang_up(Client* client) { uv_close((uv_handle_t*)&client->socket, on_close); }

static void on_buffer(uv_handle_t* handle, size_t size, uv_buf_t* buffer)
{
    (void)handle, (void)size;
    *buffer = uv_buf_init(input, sizeof input);
}

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer);

static void on_written(uv_write_t* write, int status)
{
    Client* const client = write->data;
    free(client->replies);
    client->replies = NULL;
    if (status < 0 || client->ended) {
        hang_up(client);
    } else {
        uv_read_start((uv_stream_t*)&client->socket, on_buffer, on_read);
    }
}

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer)
{
    Client* const client = stream->data;
    if (size == 0) {
        return; /* would have blocked */
    }
    if (size < 0 && size != UV_EOF) {
        hang_up(client); /* the client has gone */
        return;
    }
    const size_t received = size == UV_EOF ? 0 : (size_t)size;
    /* A request takes two bytes and a reply is short. Of what is longer than a line, one is a reply. */
    client->replies = malloc((received / 2 + 2) * longest_reply);
    if (client->replies == NULL) {
        hang_up(client);
        return;
    }
    size_t length = 0;
    for (size_t i = 0; i < received && !client->ended; ++i) {
        const char c = buffer->base[i];
        if (c == '\n' || c == '\r') {
            length += (size_t)answer(client, client->replies + length);
        } else {
            client->line[client->length++] = c;
            if (client->length > max_line) {
                length += (size_t)answer(client, client->replies + length);
            }
        }
    }
    if (size == UV_EOF) {
        length += (size_t)answer(client, client->replies + length);
        client->ended = 1;
    }
    if (length == 0 && client->ended) {
        hang_up(client);
        return;
    }
    /* Most of the time there is room, and no need to wait for it. */
    uv_buf_t rest = uv_buf_init(client->replies, (unsigned)length);
    const int sent = length == 0 ? 0 : uv_try_write(stream, &rest, 1);
    if (sent == (int)length && !client->ended) {
        free(client->replies);
        client->replies = NULL;
        return;
    }
    if (sent > 0) {
        rest.base += sent;
        rest.len -= (size_t)sent;
    }
    uv_read_stop(stream); /* who does not take the replies gets no more of them */
    client->write.data = client;
    uv_write(&client->write, stream, &rest, 1, on_written);
}

static void on_connection(uv_stream_t* acceptor, int status)
{
    Client* const client = status < 0 ? NULL : calloc(1, sizeof *client);
    if (client == NULL) {
        return;
    }
    uv_tcp_init(acceptor->loop, &client->socket);
    client->socket.data = client;
    if (uv_accept(acceptor, (uv_stream_t*)&client->socket) < 0) {
        hang_up(client);
        return;
    }
    uv_tcp_nodelay(&client->socket, 1);
    uv_read_start((uv_stream_t*)&client->socket, on_buffer, on_read);
}

static void on_signal(uv_signal_t* signal, int number)
{
    (void)number;
    uv_stop(signal->loop);
}

int main(int argc, char** argv)
{
    int port = 25000;
    for (int i = 1; i < argc; ++i) {
        if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            port = atoi(argv[++i]); /* 0 picks a free one */
        } else if (strcmp(argv[i], "--quiet") != 0) {
            fprintf(stderr, "c_libuv: there is no option %s; try --port 0\n", argv[i]);
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN); /* libuv leaves that to us: a client that has gone is no reason to go */
    uv_loop_t* const loop = uv_default_loop();
    uv_tcp_t acceptor;
    struct sockaddr_in address;
    uv_tcp_init(loop, &acceptor);
    uv_ip4_addr("127.0.0.1", port, &address);
    int problem = uv_tcp_bind(&acceptor, (const struct sockaddr*)&address, 0);
    if (problem == 0) {
        problem = uv_listen((uv_stream_t*)&acceptor, 4096, on_connection);
    }
    if (problem != 0) {
        fprintf(stderr, "c_libuv: can't listen on port %d: %s; try --port 0\n", port, uv_strerror(problem));
        return 1;
    }
    uv_signal_t signals[2];
    const int numbers[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; ++i) {
        uv_signal_init(loop, &signals[i]);
        uv_signal_start(&signals[i], on_signal, numbers[i]);
    }
    int length = sizeof address;
    uv_tcp_getsockname(&acceptor, (struct sockaddr*)&address, &length);
    printf("c_libuv listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    uv_run(loop, UV_RUN_DEFAULT);
    return 0; /* what clients there are leave with the process */
}

// The yardstick for --pool broker: the same trip with nothing around it. One process publishes a
// number of requests at a time, and counts the replies. The other takes one at a time, answers and
// acknowledges. Both use librabbitmq directly, blocking, on one thread, without futures or clients.
//
//     bare_broker publish SECONDS REQUESTS_AT_A_TIME      prints "12345 reqs/sec"
//     bare_broker consume                                 until it is killed
//
// The broker is that of GROUND_BROKER (without a password that has to be written as %..).
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr const char* queue = "bare";

void need(bool good, const char* what)
{
    if (!good) {
        std::fprintf(stderr, "bare_broker: %s failed\n", what);
        std::exit(1);
    }
}

bool good(const amqp_rpc_reply_t& reply) { return reply.reply_type == AMQP_RESPONSE_NORMAL; }

amqp_connection_state_t connect()
{
    const char* const variable = std::getenv("GROUND_BROKER");
    std::string url = variable == nullptr ? "amqp://guest:guest@127.0.0.1:5672" : variable;
    amqp_connection_info at{};
    need(amqp_parse_url(url.data(), &at) == AMQP_STATUS_OK, "reading GROUND_BROKER");
    const amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t* const socket = amqp_tcp_socket_new(connection);
    need(amqp_socket_open(socket, at.host, at.port) == AMQP_STATUS_OK, "connecting");
    need(good(amqp_login(connection, "/", 1, 131072, 0, AMQP_SASL_METHOD_PLAIN, at.user,
                         at.password)),
         "logging in");
    amqp_channel_open(connection, 1);
    need(good(amqp_get_rpc_reply(connection)), "opening a channel");
    amqp_queue_declare(connection, 1, amqp_cstring_bytes(queue), 0, 1, 0, 0, amqp_empty_table);
    need(good(amqp_get_rpc_reply(connection)), "declaring the queue");
    return connection;
}

void consume_from(amqp_connection_state_t connection, const char* from, bool no_ack)
{
    amqp_basic_consume(connection, 1, amqp_cstring_bytes(from), amqp_empty_bytes, 0, no_ack ? 1 : 0,
                       0, amqp_empty_table);
    need(good(amqp_get_rpc_reply(connection)), "consuming");
}

amqp_envelope_t next(amqp_connection_state_t connection)
{
    amqp_envelope_t envelope;
    amqp_maybe_release_buffers(connection);
    need(good(amqp_consume_message(connection, &envelope, nullptr, 0)), "receiving");
    return envelope;
}

void publish(double seconds, int at_a_time)
{
    const auto connection = connect();
    consume_from(connection, "amq.rabbitmq.reply-to", true);
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG;
    properties.reply_to = amqp_cstring_bytes("amq.rabbitmq.reply-to");
    long sent = 0;
    long answered = 0;
    const auto send = [&] {
        const std::string number = std::to_string(++sent);
        properties.correlation_id = amqp_cstring_bytes(number.c_str());
        need(amqp_basic_publish(connection, 1, amqp_empty_bytes, amqp_cstring_bytes(queue), 0, 0,
                                &properties, amqp_cstring_bytes("1")) == AMQP_STATUS_OK,
             "publishing");
    };
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const auto end = begin + std::chrono::duration<double>(seconds);
    while (sent < at_a_time) {
        send();
    }
    while (Clock::now() < end) {
        amqp_envelope_t reply = next(connection);
        amqp_destroy_envelope(&reply);
        ++answered;
        send();
    }
    const std::chrono::duration<double> took = Clock::now() - begin;
    std::printf("%.0f reqs/sec\n", static_cast<double>(answered) / took.count());
}

[[noreturn]] void consume()
{
    const auto connection = connect();
    amqp_basic_qos(connection, 1, 0, 1, 0);
    need(good(amqp_get_rpc_reply(connection)), "setting the prefetch");
    consume_from(connection, queue, false);
    std::printf("ready\n");
    std::fflush(stdout);
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_CORRELATION_ID_FLAG;
    for (;;) {
        amqp_envelope_t request = next(connection);
        properties.correlation_id = request.message.properties.correlation_id;
        const bool sent =
            amqp_basic_publish(connection, 1, amqp_empty_bytes, request.message.properties.reply_to,
                               0, 0, &properties, request.message.body) == AMQP_STATUS_OK &&
            amqp_basic_ack(connection, 1, request.delivery_tag, 0) == AMQP_STATUS_OK;
        need(sent, "answering");
        amqp_destroy_envelope(&request);
    }
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc == 4 && std::strcmp(argv[1], "publish") == 0) {
        publish(std::atof(argv[2]), std::atoi(argv[3]));
    } else if (argc == 2 && std::strcmp(argv[1], "consume") == 0) {
        consume();
    } else {
        std::fprintf(stderr, "bare_broker publish SECONDS REQUESTS_AT_A_TIME, or consume\n");
        return 2;
    }
}

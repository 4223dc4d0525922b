#include "common/compute/broker_connection.hpp"

#include "common/server/log.hpp"

#include <fmt/format.h>

// Since 0.13 the headers are in a folder of their own, and the old ones only warn.
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <random>
#include <span>
#include <utility>

namespace ground {

namespace {

constexpr amqp_channel_t channel = 1;
constexpr int heartbeat = 5;  // seconds; RabbitMQ advises against less
constexpr timeval patience{10, 0};
constexpr int largest_frame = 131'072;
constexpr std::string_view consumer = "ground";  // one on each channel, so any name will do
constexpr std::string_view attempt_header = "x-attempt";
constexpr std::string_view announce_header = "x-announce";

amqp_bytes_t bytes(std::string_view text)
{
    // The library only reads it.
    return {text.size(), const_cast<char*>(text.data())};
}

std::string_view text(amqp_bytes_t bytes)
{
    return {static_cast<const char*>(bytes.bytes), bytes.len};
}

// What a broker says, on one line.
std::string one_line(amqp_bytes_t said)
{
    std::string line(text(said));
    std::replace_if(
        line.begin(), line.end(), [](unsigned char c) { return c < ' '; }, ' ');
    return line;
}

// Why the broker has closed the channel or the connection: AMQP's code, which is similar to those
// of HTTP, and a text.
struct Closed {
    int code = 0;
    std::string words;
};

Closed why_closed(const amqp_method_t& method)
{
    if (method.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const auto* close = static_cast<amqp_connection_close_t*>(method.decoded);
        return {close->reply_code, one_line(close->reply_text)};
    }
    if (method.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const auto* close = static_cast<amqp_channel_close_t*>(method.decoded);
        return {close->reply_code, one_line(close->reply_text)};
    }
    return {0, fmt::format("it says {}, which was not expected", amqp_method_name(method.id))};
}

Closed why_failed(const amqp_rpc_reply_t& reply)
{
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) {
        return why_closed(reply.reply);
    }
    return {0, amqp_error_string2(reply.library_error)};
}

// The parts of amqp://user:password@host:port/vhost; they point into the text.
class Address {
  public:
    explicit Address(const std::string& url) : text_(url)
    {
        if (amqp_parse_url(text_.data(), &info_) != AMQP_STATUS_OK) {
            throw BrokerError(
                "--broker is not an address; write "
                "amqp://user:password@host:port/vhost (a / in a name is %2F)");
        }
        // The library takes ".../" for an empty name, but users mean the vhost "/".
        vhost_ = *info_.vhost == '\0' ? "/" : info_.vhost;
    }
    Address(const Address&) = delete;
    Address& operator=(const Address&) = delete;

    [[nodiscard]] const char* host() const { return info_.host; }
    [[nodiscard]] int port() const { return info_.port; }
    [[nodiscard]] const char* user() const { return info_.user; }
    [[nodiscard]] const char* password() const { return info_.password; }
    [[nodiscard]] const char* vhost() const { return vhost_; }
    [[nodiscard]] bool tls() const { return info_.ssl != 0; }
    [[nodiscard]] std::string for_people() const { return fmt::format("{}:{}", host(), port()); }

  private:
    std::string text_;
    amqp_connection_info info_{};
    const char* vhost_ = "/";
};

}  // namespace

std::string name_of_this_program()
{
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    return fmt::format("{} {}", host.data(), ::getpid());
}

std::string printable(std::string_view text, std::size_t longest)
{
    const bool cut = text.size() > longest;
    std::string line(text.substr(0, longest));
    std::replace_if(
        line.begin(), line.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return cut ? line + "..." : line;
}

Bell::Bell() : eventfd_(check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {}

void Bell::ring() const noexcept { ::eventfd_write(eventfd_.get(), 1); }

void Bell::silence() const noexcept
{
    eventfd_t rung = 0;
    ::eventfd_read(eventfd_.get(), &rung);
}

void Bell::wait(std::chrono::milliseconds longest) const noexcept
{
    pollfd rung{fd(), POLLIN, 0};
    ::poll(&rung, 1, static_cast<int>(longest.count()));
    silence();
}

struct BrokerConnection::Impl {
    explicit Impl(const BrokerOptions& options);
    ~Impl()
    {
        // Does not close the connection first, because that could block. The broker copes with it.
        amqp_destroy_connection(state);
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void open_socket();
    void login();
    void declare(const BrokerOptions& options);
    void check_that_we_may_publish();
    [[nodiscard]] bool may_have_more() const
    {
        return amqp_frames_enqueued(state) || amqp_data_in_buffer(state);
    }
    [[noreturn]] void read_what_is_no_delivery();

    Address address;
    amqp_connection_state_t state;
    bool consumes = false;
    bool look = true;  // whether next() must read the socket and serve the heartbeats
};

BrokerConnection::Impl::Impl(const BrokerOptions& options)
    : address(options.url), state(amqp_new_connection())
{
    if (state == nullptr) {
        throw std::bad_alloc();
    }
    try {
        open_socket();
        login();
        declare(options);
        check_that_we_may_publish();
    } catch (...) {
        amqp_destroy_connection(state);
        throw;
    }
}

void BrokerConnection::Impl::open_socket()
{
    amqp_socket_t* socket = nullptr;
    if (address.tls()) {
        socket = amqp_ssl_socket_new(state);
        // OpenSSL's variable for the file of trusted certificates, or else Debian's file.
        const char* trusted = std::getenv("SSL_CERT_FILE");
        if (trusted == nullptr) {
            trusted = "/etc/ssl/certs/ca-certificates.crt";
        }
        if (socket != nullptr && amqp_ssl_socket_set_cacert(socket, trusted) != AMQP_STATUS_OK) {
            throw BrokerError(
                fmt::format("can't read certificates from {}; install ca-certificates, or name "
                            "another file in SSL_CERT_FILE",
                            trusted));
        }
    } else {
        socket = amqp_tcp_socket_new(state);
    }
    if (socket == nullptr) {
        throw std::bad_alloc();
    }
    amqp_set_handshake_timeout(state, &patience);
    amqp_set_rpc_timeout(state, &patience);
    const int status = amqp_socket_open_noblock(socket, address.host(), address.port(), &patience);
    if (status == AMQP_STATUS_OK) {
        return;
    }
    const std::string why = fmt::format(
        "no broker at {}: {}; start one (scripts/broker does), or say where it is with "
        "--broker amqp://user:password@host:port/vhost",
        address.for_people(), amqp_error_string2(status));
    if (address.tls() && status != AMQP_STATUS_SOCKET_ERROR) {
        throw BrokerError(why);  // for example a certificate: trying again does not help
    }
    throw NoBroker(why);
}

void BrokerConnection::Impl::login()
{
    // When a queue is deleted, the broker tells its consumers (basic.cancel), but only those that
    // have said here that they understand this. Another consumer would wait for ever on a healthy
    // connection.
    amqp_table_entry_t understands{};
    understands.key = bytes("consumer_cancel_notify");
    understands.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    understands.value.value.boolean = 1;
    amqp_table_entry_t capabilities{};
    capabilities.key = bytes("capabilities");
    capabilities.value.kind = AMQP_FIELD_KIND_TABLE;
    capabilities.value.value.table = {1, &understands};
    const amqp_table_t properties{1, &capabilities};
    const amqp_rpc_reply_t reply =
        amqp_login_with_properties(state, address.vhost(), 1, largest_frame, heartbeat, &properties,
                                   AMQP_SASL_METHOD_PLAIN, address.user(), address.password());
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return;
    }
    const Closed why = why_failed(reply);
    if (why.code == AMQP_ACCESS_REFUSED) {
        throw BrokerError(fmt::format(
            "the broker at {} does not let '{}' in with this password; correct --broker, or add "
            "the user (rabbitmqctl add_user). guest may come from the broker's own machine only",
            address.for_people(), address.user()));
    }
    if (why.code == AMQP_NOT_ALLOWED) {
        throw BrokerError(fmt::format(
            "the broker at {} does not let '{}' use vhost '{}' ({}); correct --broker, or use "
            "rabbitmqctl add_vhost and set_permissions",
            address.for_people(), address.user(), address.vhost(), why.words));
    }
    const std::string what = fmt::format("what is at {} does not answer like a broker: {}",
                                         address.for_people(), why.words);
    // The port of a container accepts and closes connections before the broker in it runs.
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
        (reply.library_error == AMQP_STATUS_CONNECTION_CLOSED ||
         reply.library_error == AMQP_STATUS_SOCKET_ERROR)) {
        throw NoBroker(what);
    }
    throw BrokerError(what);
}

// The queue itself is always durable: newer brokers (RabbitMQ 4.3) have no other queues that
// several connections may use. Each message says whether it survives a restart.
void BrokerConnection::Impl::declare(const BrokerOptions& options)
{
    amqp_channel_open(state, channel);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(state);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        amqp_queue_declare(state, channel, bytes(options.queue), 0, 1, 0, 0, amqp_empty_table);
        reply = amqp_get_rpc_reply(state);
    }
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return;
    }
    const Closed why = why_failed(reply);
    if (why.code == AMQP_PRECONDITION_FAILED) {
        throw BrokerError(
            fmt::format("queue '{}' at {} has other properties than we need ({}); delete it "
                        "(rabbitmqctl delete_queue), or choose another --queue",
                        options.queue, address.for_people(), why.words));
    }
    if (why.code == AMQP_ACCESS_REFUSED) {
        throw BrokerError(fmt::format(
            "the broker at {} does not let '{}' have queue '{}' ({}); rabbitmqctl set_permissions "
            "grants it",
            address.for_people(), address.user(), options.queue, why.words));
    }
    throw BrokerError(fmt::format("the broker at {} does not give us queue '{}': {}",
                                  address.for_people(), options.queue, why.words));
}

// The broker does not answer a publish, so a user would learn much later that the permission is
// missing. So this publishes one message that no queue takes. It must come back.
void BrokerConnection::Impl::check_that_we_may_publish()
{
    amqp_basic_publish(state, channel, amqp_empty_bytes, bytes("ground.nowhere"), 1, 0, nullptr,
                       amqp_empty_bytes);
    amqp_frame_t frame;
    int status = amqp_simple_wait_frame_noblock(state, &frame, &patience);
    if (status == AMQP_STATUS_OK && frame.frame_type == AMQP_FRAME_METHOD &&
        frame.payload.method.id == AMQP_BASIC_RETURN_METHOD) {
        amqp_message_t message;
        const amqp_rpc_reply_t reply = amqp_read_message(state, channel, &message, 0);
        if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
            amqp_destroy_message(&message);
            return;
        }
        status = reply.library_error;
    }
    if (status != AMQP_STATUS_OK) {
        throw BrokerError(fmt::format("the broker at {} does not answer: {}", address.for_people(),
                                      amqp_error_string2(status)));
    }
    const Closed why = frame.frame_type == AMQP_FRAME_METHOD ? why_closed(frame.payload.method)
                                                             : Closed{0, "an unexpected frame"};
    throw BrokerError(
        fmt::format("the broker at {} does not let '{}' write to amq.default ({}); rabbitmqctl "
                    "set_permissions grants it",
                    address.for_people(), address.user(), why.words));
}

BrokerConnection::BrokerConnection(const BrokerOptions& options)
    : impl_(std::make_unique<Impl>(options))
{
}

BrokerConnection::~BrokerConnection() = default;

std::string BrokerConnection::address(const BrokerOptions& options)
{
    return Address(options.url).for_people();
}

void BrokerConnection::consume(std::string_view queue, std::uint16_t prefetch)
{
    const bool acknowledged = prefetch != 0;
    amqp_rpc_reply_t reply{};
    reply.reply_type = AMQP_RESPONSE_NORMAL;
    if (acknowledged) {
        amqp_basic_qos(impl_->state, channel, 0, prefetch, 0);
        reply = amqp_get_rpc_reply(impl_->state);
    }
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        amqp_basic_consume(impl_->state, channel, bytes(queue), bytes(consumer), 0,
                           acknowledged ? 0 : 1, 0, amqp_empty_table);
        reply = amqp_get_rpc_reply(impl_->state);
    }
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        throw BrokerError(fmt::format(
            "the broker at {} does not let '{}' read from queue '{}' ({}); rabbitmqctl "
            "set_permissions grants it",
            impl_->address.for_people(), impl_->address.user(), queue, why_failed(reply).words));
    }
    impl_->consumes = true;
}

void BrokerConnection::stop_consuming()
{
    if (!std::exchange(impl_->consumes, false)) {
        return;
    }
    amqp_basic_cancel(impl_->state, channel, bytes(consumer));
    const amqp_rpc_reply_t reply = amqp_get_rpc_reply(impl_->state);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        throw BrokerError(why_failed(reply).words);
    }
}

void BrokerConnection::announce(const Message& request)
{
    if (request.announce) {
        Message begun;
        begun.routing_key = request.reply_to;
        begun.correlation_id = request.correlation_id;
        begun.type = "begun";
        begun.body = name_of_this_program();
        publish(begun);
    }
}

void BrokerConnection::publish(const Message& message, bool must_arrive)
{
    amqp_basic_properties_t properties{};
    const auto set = [&](amqp_flags_t flag, amqp_bytes_t& property, std::string_view value) {
        if (!value.empty()) {
            properties._flags |= flag;
            property = bytes(value);
        }
    };
    set(AMQP_BASIC_REPLY_TO_FLAG, properties.reply_to, message.reply_to);
    set(AMQP_BASIC_CORRELATION_ID_FLAG, properties.correlation_id, message.correlation_id);
    set(AMQP_BASIC_TYPE_FLAG, properties.type, message.type);
    std::string expiration;  // milliseconds, as text
    if (message.expiration.count() > 0) {
        expiration = fmt::format("{}", message.expiration.count());
        set(AMQP_BASIC_EXPIRATION_FLAG, properties.expiration, expiration);
    }
    if (message.persistent) {
        properties._flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
        properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
    }
    std::array<amqp_table_entry_t, 2> headers{};
    const auto header = [&](std::string_view name, int value) {
        properties._flags |= AMQP_BASIC_HEADERS_FLAG;
        properties.headers.entries = headers.data();
        amqp_table_entry_t& entry =
            headers.at(static_cast<std::size_t>(properties.headers.num_entries++));
        entry.key = bytes(name);
        entry.value.kind = AMQP_FIELD_KIND_I32;
        entry.value.value.i32 = value;
    };
    if (message.attempt != 1) {
        header(attempt_header, message.attempt);
    }
    if (message.announce) {
        header(announce_header, 1);
    }
    const int status =
        amqp_basic_publish(impl_->state, channel, amqp_empty_bytes, bytes(message.routing_key),
                           must_arrive ? 1 : 0, 0, &properties, bytes(message.body));
    if (status != AMQP_STATUS_OK) {
        throw BrokerError(amqp_error_string2(status));
    }
}

void BrokerConnection::acknowledge(const Message& message)
{
    const int status = amqp_basic_ack(impl_->state, channel, message.delivery_tag, 0);
    if (status != AMQP_STATUS_OK) {
        throw BrokerError(amqp_error_string2(status));
    }
}

void BrokerConnection::cork(bool on) const noexcept
{
    const int value = on ? 1 : 0;
    ::setsockopt(amqp_get_sockfd(impl_->state), IPPROTO_TCP, TCP_CORK, &value, sizeof value);
}

// The broker has sent something other than a message. That is always an error.
void BrokerConnection::Impl::read_what_is_no_delivery()
{
    amqp_frame_t frame;
    const int status = amqp_simple_wait_frame_noblock(state, &frame, &patience);
    if (status != AMQP_STATUS_OK) {
        throw BrokerError(amqp_error_string2(status));
    }
    if (frame.frame_type != AMQP_FRAME_METHOD) {
        throw BrokerError("it sends an unexpected frame");
    }
    switch (frame.payload.method.id) {
        case AMQP_BASIC_RETURN_METHOD:
        case AMQP_BASIC_CANCEL_METHOD:
            throw BrokerError("the queue has been deleted");
        default:
            throw BrokerError(why_closed(frame.payload.method).words);
    }
}

std::optional<Message> BrokerConnection::next()
{
    // The library reads as much as there is and keeps what it does not need yet. So there can be a
    // message although the socket has no bytes. (TLS also keeps bytes and does not report them.)
    if (!impl_->look && !impl_->may_have_more() && !impl_->address.tls()) {
        return std::nullopt;
    }
    impl_->look = false;
    constexpr timeval at_once{0, 0};
    amqp_maybe_release_buffers(impl_->state);
    amqp_envelope_t envelope;
    const amqp_rpc_reply_t reply = amqp_consume_message(impl_->state, &envelope, &at_once, 0);
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        if (reply.library_error == AMQP_STATUS_TIMEOUT) {
            return std::nullopt;
        }
        if (reply.library_error == AMQP_STATUS_UNEXPECTED_STATE) {
            impl_->read_what_is_no_delivery();
        }
    }
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        throw BrokerError(why_failed(reply).words);
    }
    Message message;
    const amqp_basic_properties_t& properties = envelope.message.properties;
    const auto get = [&](amqp_flags_t flag, amqp_bytes_t property) {
        return (properties._flags & flag) != 0 ? text(property) : std::string_view();
    };
    message.reply_to = get(AMQP_BASIC_REPLY_TO_FLAG, properties.reply_to);
    message.correlation_id = get(AMQP_BASIC_CORRELATION_ID_FLAG, properties.correlation_id);
    message.type = get(AMQP_BASIC_TYPE_FLAG, properties.type);
    message.body = text(envelope.message.body);
    const std::string_view expiration = get(AMQP_BASIC_EXPIRATION_FLAG, properties.expiration);
    std::int64_t milliseconds = 0;
    std::from_chars(expiration.data(), expiration.data() + expiration.size(), milliseconds);
    message.expiration = std::chrono::milliseconds(milliseconds);
    message.persistent = (properties._flags & AMQP_BASIC_DELIVERY_MODE_FLAG) != 0 &&
                         properties.delivery_mode == AMQP_DELIVERY_PERSISTENT;
    if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) != 0) {
        const amqp_table_t& headers = properties.headers;
        for (const auto& entry :
             std::span(headers.entries, static_cast<std::size_t>(headers.num_entries))) {
            const bool number = entry.value.kind == AMQP_FIELD_KIND_I32;
            if (number && text(entry.key) == attempt_header) {
                message.attempt = std::max(1, entry.value.value.i32);
            }
            message.announce = message.announce || (number && text(entry.key) == announce_header);
        }
    }
    message.delivery_tag = envelope.delivery_tag;
    message.redelivered = envelope.redelivered != 0;
    amqp_destroy_envelope(&envelope);
    return message;
}

void BrokerConnection::wait(const Bell& bell, Here here) const
{
    // idles: in this state the observer does not hold the thread, which must send heartbeats.
    const observe::Seam waiting(observe::idles, observe::this_thread, here);
    impl_->look = true;
    if (impl_->may_have_more()) {
        return;  // publish() may have read something when a heartbeat was due
    }
    std::array<pollfd, 2> either{
        {{amqp_get_sockfd(impl_->state), POLLIN, 0}, {bell.fd(), POLLIN, 0}}};
    ::poll(either.data(), either.size(), 1000 * heartbeat / 4);
    if (either[1].revents != 0) {
        bell.silence();
    }
}

Attempts::Attempts(std::string who, const BrokerOptions& options)
    : who_(std::move(who)), options_(options)
{
}

std::chrono::milliseconds Attempts::failed(const BrokerError& error)
{
    if (!was_connected_ && dynamic_cast<const NoBroker*>(&error) == nullptr) {
        log("{}: {}", who_, error.what());
        std::_Exit(EXIT_FAILURE);  // there are other threads
    }
    if (std::exchange(connected_, false)) {
        log("{}: lost the broker at {}: {}; trying again", who_,
            BrokerConnection::address(options_), error.what());
        said_.clear();
    } else if (said_ != error.what()) {
        said_ = error.what();
        log("{}: {}; trying again", who_, said_);
    }
    if (!since_) {
        since_ = Clock::now();
    }
    static thread_local std::minstd_rand random(std::random_device{}());
    const auto longest =
        std::exchange(longest_, std::min(2 * longest_, std::chrono::milliseconds(5000)));
    return std::chrono::milliseconds(
        std::uniform_int_distribution<std::int64_t>(longest.count() / 2, longest.count())(random));
}

void Attempts::succeeded()
{
    connected_ = true;
    longest_ = std::chrono::milliseconds(200);
    if (since_) {
        log("{}: {} the broker after {:.1f} s", who_, was_connected_ ? "back at" : "found",
            std::chrono::duration<double>(Clock::now() - *since_).count());
        since_.reset();
    }
    was_connected_ = true;
}

}  // namespace ground

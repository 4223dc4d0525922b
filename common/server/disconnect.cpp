#include "common/server/disconnect.hpp"

#include "common/base/descriptor.hpp"
#include "common/server/async.hpp"

#include <asio/execution_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include <sys/epoll.h>

#include <cstddef>
#include <utility>

namespace ground {

// The clients of one io_context, in an epoll set of their own that reports lost connections and
// nothing else. Asio's own set can also report them (wait_error), but that takes a system call for
// each wait. This set takes one for each client.
class DisconnectService : public asio::execution_context::service {
  public:
    using key_type = DisconnectService;
    static inline asio::execution_context::id id;

    explicit DisconnectService(asio::execution_context& context)
        : service(context),
          set_(static_cast<asio::io_context&>(context),
               check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"))
    {
    }

    void add(DisconnectWatch& client)
    {
        epoll_event lost{EPOLLET, {.ptr = &client}};  // EPOLLERR and EPOLLHUP are always reported
        check(::epoll_ctl(set_.native_handle(), EPOLL_CTL_ADD, client.fd_, &lost), "epoll_ctl");
        ++clients_;
        wait();
    }

    void remove(const DisconnectWatch& client) noexcept
    {
        ::epoll_ctl(set_.native_handle(), EPOLL_CTL_DEL, client.fd_, nullptr);
        if (--clients_ == 0) {
            asio::error_code ignored;
            set_.cancel(ignored);  // else run() would not return
        }
    }

  private:
    void shutdown() noexcept override {}

    void wait()
    {
        if (std::exchange(waits_, true)) {
            return;
        }
        set_.async_wait(asio::posix::stream_descriptor::wait_read, [this](asio::error_code) {
            // One client at a time, because the callback may end other clients.
            epoll_event lost{};
            while (::epoll_wait(set_.native_handle(), &lost, 1, 0) == 1) {
                auto& client = *static_cast<DisconnectWatch*>(lost.data.ptr);
                client.lost_ = true;
                client.notify();
            }
            waits_ = false;
            if (clients_ != 0) {
                wait();
            }
        });
    }

    asio::posix::basic_stream_descriptor<Executor> set_;
    std::size_t clients_ = 0;
    bool waits_ = false;
};

DisconnectWatch::DisconnectWatch(tcp::socket& client)
    : fd_(client.descriptor()),
      watches_(asio::use_service<DisconnectService>(client.get_executor().context()))
{
    watches_.add(*this);
}

void DisconnectWatch::prepare(const Executor& executor)
{
    asio::use_service<DisconnectService>(executor.context());
}

DisconnectWatch::~DisconnectWatch() { watches_.remove(*this); }

void DisconnectWatch::notify() noexcept
{
    if (const auto callback = std::exchange(callback_, nullptr)) {
        callback();
    }
}

OnDisconnect::OnDisconnect(DisconnectWatch& client, std::function<void()> call_back)
    : client_(client)
{
    client.callback_ = std::move(call_back);
    if (client.lost_) {
        client.notify();
    }
}

struct OnTimeout::Alarm {
    Timer timer;
    std::function<void()> call_back;
};

OnTimeout::OnTimeout(const Executor& executor, std::chrono::microseconds time,
                     std::function<void()> call_back)
{
    if (time.count() == 0) {
        return;
    }
    alarm_ = std::make_shared<Alarm>(Alarm{Timer(executor, time), std::move(call_back)});
    alarm_->timer.async_wait([alarm = alarm_](asio::error_code) {
        if (const auto ring = std::exchange(alarm->call_back, nullptr)) {
            ring();
        }
    });
}

OnTimeout::~OnTimeout()
{
    if (alarm_) {
        alarm_->call_back = nullptr;
        alarm_->timer.cancel();
    }
}

}  // namespace ground

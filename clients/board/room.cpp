#include "clients/board/room.hpp"

#include "clients/board/qr.hpp"
#include "clients/board/random_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace ground::board {

namespace {

using Json = nlohmann::json;

constexpr std::size_t longest_name = 20;  // code points
constexpr std::size_t most_accents = 3;   // of one letter: Hindi has some with three

std::string text_in(const Json& json, const char* name)
{
    const auto found = json.find(name);
    return found == json.end() || !found->is_string() ? "" : found->get<std::string>();
}

std::optional<std::size_t> number_in(const Json& json, const char* name)
{
    const auto found = json.find(name);
    if (found == json.end() || !found->is_number_unsigned()) {
        return std::nullopt;
    }
    return found->get<std::size_t>();
}

bool flag_in(const Json& json, const char* name)
{
    const auto found = json.find(name);
    return found != json.end() && found->is_boolean() && found->get<bool>();
}

std::string dump(const Json& json)
{
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

double milliseconds(std::chrono::steady_clock::duration time)
{
    return std::chrono::duration<double, std::milli>(time).count();
}

// The next code point, which is taken off. Nothing if it is no UTF-8.
std::optional<char32_t> take_code_point(std::string_view& text)
{
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t size = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
    if (size == 0 || text.size() < size) {
        return std::nullopt;
    }
    char32_t result = size == 1 ? first : first & (0xffU >> (size + 1));
    for (std::size_t i = 1; i < size; ++i) {
        const auto next = static_cast<unsigned char>(text[i]);
        if ((next & 0xc0U) != 0x80) {
            return std::nullopt;
        }
        result = (result << 6U) | (next & 0x3fU);
    }
    const bool longer = (size == 3 && result < 0x800) || (size == 4 && result < 0x10000);
    if (longer || result > 0x10ffff || (result >= 0xd800 && result < 0xe000)) {
        return std::nullopt;
    }
    text.remove_prefix(size);
    return result;
}

bool between(char32_t c, char32_t first, char32_t last) { return c >= first && c <= last; }

// Whether the character is invisible, or turns the direction of the text beside it.
bool hidden(char32_t c)
{
    return c < ' ' || between(c, 0x7f, 0x9f) || c == 0xad || c == 0x34f || c == 0x61c ||
           between(c, 0x115f, 0x1160) || between(c, 0x17b4, 0x17b5) || between(c, 0x180b, 0x180f) ||
           between(c, 0x200b, 0x200f) || between(c, 0x2028, 0x202e) || between(c, 0x2060, 0x206f) ||
           c == 0x3164 || between(c, 0xe000, 0xf8ff) || between(c, 0xfe00, 0xfe0f) || c == 0xfeff ||
           c == 0xffa0 || between(c, 0xfff0, 0xffff) || c >= 0xe0000;
}

bool blank(char32_t c)
{
    return c == ' ' || c == '\t' || c == 0xa0 || c == 0x1680 || between(c, 0x2000, 0x200a) ||
           c == 0x202f || c == 0x205f || c == 0x2800 || c == 0x3000;
}

// Accents, and the vowels and tones that some scripts put above and below a letter. One letter may
// have a few of them, and not a tower that reaches into the lines around it.
bool combining(char32_t c)
{
    using Range = std::pair<char32_t, char32_t>;
    static constexpr std::array marks{
        Range{0x300, 0x36f},     Range{0x483, 0x489},     Range{0x591, 0x5bd},
        Range{0x5bf, 0x5bf},     Range{0x5c1, 0x5c7},     Range{0x610, 0x61a},
        Range{0x64b, 0x65f},     Range{0x670, 0x670},     Range{0x6d6, 0x6ed},
        Range{0x711, 0x711},     Range{0x730, 0x74a},     Range{0x7a6, 0x7b0},
        Range{0x7eb, 0x7f3},     Range{0x816, 0x82d},     Range{0x859, 0x85b},
        Range{0x898, 0x89f},     Range{0x8ca, 0x903},     Range{0x93a, 0x957},
        Range{0xe31, 0xe31},     Range{0xe34, 0xe3a},     Range{0xe47, 0xe4e},
        Range{0xeb1, 0xeb1},     Range{0xeb4, 0xebc},     Range{0xec8, 0xece},
        Range{0xf18, 0xf19},     Range{0xf71, 0xf87},     Range{0xf8d, 0xfbc},
        Range{0x102b, 0x103e},   Range{0x135d, 0x135f},   Range{0x17b6, 0x17d3},
        Range{0x1ab0, 0x1aff},   Range{0x1dc0, 0x1dff},   Range{0x20d0, 0x20ff},
        Range{0x302a, 0x302f},   Range{0x3099, 0x309a},   Range{0xa66f, 0xa67d},
        Range{0xa8e0, 0xa8f1},   Range{0xfe20, 0xfe2f},   Range{0x1d165, 0x1d1ad},
        Range{0x1e000, 0x1e02a}, Range{0x1e130, 0x1e136}, Range{0x1e2ae, 0x1e2ae},
        Range{0x1e2ec, 0x1e2ef}, Range{0x1e8d0, 0x1e8d6}, Range{0x1e944, 0x1e94a}};
    // From Devanagari to Sinhala each block of 128 has the same plan, with its vowels here.
    const bool indic =
        between(c, 0x980, 0xdff) && (between(c & 0x7fU, 0x3c, 0x57) || (c & 0x7fU) < 4);
    return indic || std::any_of(marks.begin(), marks.end(), [c](const Range& range) {
               return between(c, range.first, range.second);
           });
}

std::string lower(std::string text)
{
    for (char& c : text) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return text;
}

Room::Reply refusal(int status, std::string why) { return {status, std::move(why) + '\n'}; }

Room::Reply unknown() { return refusal(410, "this phone is no longer in the room; join again"); }

}  // namespace

bool Allowance::take(Clock::time_point now)
{
    const double seconds = std::chrono::duration<double>(now - since_).count();
    left_ = std::min(at_once_, left_ + seconds * per_second_);
    since_ = now;
    if (left_ < 1) {
        return false;
    }
    left_ -= 1;
    return true;
}

bool Allowance::full(Clock::time_point now) const
{
    return left_ + std::chrono::duration<double>(now - since_).count() * per_second_ >= at_once_;
}

std::string clean_name(std::string_view text)
{
    std::string name;
    std::size_t length = 0;
    std::size_t accents = 0;
    bool gap = false;
    while (!text.empty() && length < longest_name) {
        const std::string_view before = text;
        const std::optional<char32_t> c = take_code_point(text);
        if (!c) {
            return "";
        }
        if (blank(*c)) {
            gap = !name.empty();
            continue;
        }
        accents = combining(*c) ? accents + 1 : 0;
        if (hidden(*c) || accents > most_accents || (accents > 0 && (name.empty() || gap))) {
            continue;
        }
        if (std::exchange(gap, false)) {
            if (++length == longest_name) {
                break;
            }
            name += ' ';
        }
        name += before.substr(0, before.size() - text.size());
        ++length;
    }
    return name;
}

Room::Room(std::vector<Crowd*> crowds, Questions questions, RoomLimits limits)
    : crowds_(std::move(crowds)),
      questions_(std::move(questions)),
      limits_(limits),
      of_client_(crowds_.size()),
      joins_(limits.joins_per_second, limits.joins_at_once)
{
    for (std::size_t i = 0; i < crowds_.size(); ++i) {
        crowds_[i]->listen_to_phones([this, i](const Line& line) { heard(i, line); });
    }
}

Room::~Room()
{
    for (Crowd* const crowd : crowds_) {
        crowd->listen_to_phones({});
    }
}

// On a crowd's thread.
void Room::heard(std::size_t crowd, const Line& line)
{
    if (!line.reply) {
        return;
    }
    const std::lock_guard lock(mutex_);
    const auto number = of_client_[crowd].find(line.number);
    if (number == of_client_[crowd].end()) {
        return;
    }
    Seat& seat = phones_.at(number->second).seats[crowd];
    if (seat.asked) {
        seat.reply = line.text;
        seat.milliseconds =
            line.milliseconds > 0 ? line.milliseconds : milliseconds(Clock::now() - *seat.asked);
        seat.asked.reset();
        change(number->second);
    }
}

// ---- Phones

void Room::open(std::string address, Wake wake)
{
    const std::lock_guard lock(mutex_);
    address_ = std::move(address);
    qr_ = qr_code(address_);
    wake_ = std::move(wake);
    change_board();
}

void Room::close()
{
    const std::lock_guard lock(mutex_);
    wake_ = nullptr;
}

void Room::change(std::optional<unsigned> phone)
{
    ++version_;
    if (!phone) {
        for_all_ = version_;
    } else if (const auto found = phones_.find(*phone); found != phones_.end()) {
        found->second.changed = version_;
    }
    if (wake_) {
        wake_(phone);
    }
}

Room::Phone* Room::find(std::string_view token)
{
    const auto number = tokens_.find(token);
    return number == tokens_.end() ? nullptr : &phones_.at(number->second);
}

// Gives the phone a client at each server. False if a crowd is full.
bool Room::seat(Phone& phone, unsigned number)
{
    for (std::size_t i = 0; i < crowds_.size(); ++i) {
        const std::optional<unsigned> client = crowds_[i]->phone_comes();
        if (!client) {
            unseat(phone);
            return false;
        }
        phone.seats[i] = {};
        phone.seats[i].client = *client;
        of_client_[i][*client] = number;
    }
    phone.away = false;
    return true;
}

void Room::unseat(Phone& phone)
{
    for (std::size_t i = 0; i < crowds_.size(); ++i) {
        Seat& seat = phone.seats[i];
        if (seat.client != 0) {
            of_client_[i].erase(seat.client);
            crowds_[i]->leave(seat.client);
        }
        seat.client = 0;
        seat.asked.reset();
    }
}

void Room::forget(unsigned number)
{
    const auto phone = phones_.find(number);
    unseat(phone->second);
    if (vote_ && vote_->step == Step::open) {
        vote_->phones.erase(number);  // it could join again, and vote again
    }
    tokens_.erase(phone->second.token);
    phones_.erase(phone);
    change_board();
    if (wake_) {
        wake_(number);
    }
}

// Makes room for one more phone, if `full`: the phone that has been away longest gives its place.
// If there is an address, only phones that came from there count.
bool Room::make_room(bool full, const std::string* address)
{
    if (!full) {
        return true;
    }
    std::optional<unsigned> quietest;
    for (const auto& [number, phone] : phones_) {
        if (phone.away && (address == nullptr || phone.address == *address) &&
            (!quietest || phone.heard < phones_.at(*quietest).heard)) {
            quietest = number;
        }
    }
    if (quietest) {
        forget(*quietest);
    }
    return quietest.has_value();
}

// "Ann", or "Ann 2" if there is an Ann already.
std::string Room::unused(const std::string& name) const
{
    std::string result = name;
    for (unsigned i = 2;; ++i) {
        const bool taken = std::any_of(phones_.begin(), phones_.end(), [&](const auto& other) {
            return lower(other.second.name) == lower(result);
        });
        if (!taken) {
            return result;
        }
        result = fmt::format("{} {}", name, i);
    }
}

Room::Reply Room::join(const Json& wish, const std::string& address)
{
    const std::string name = clean_name(text_in(wish, "name"));
    if (name.empty()) {
        return refusal(400, "say a name, so that you can see yourself on the board");
    }
    const std::lock_guard lock(mutex_);
    if (!joins_.take()) {
        return refusal(429, "too many come at once; try again in a moment");
    }
    const auto from_there = std::count_if(phones_.begin(), phones_.end(), [&](const auto& other) {
        return other.second.address == address;
    });
    if (!make_room(static_cast<std::size_t>(from_there) >= limits_.per_address, &address)) {
        return refusal(429, fmt::format("{} phones are here from your address already; close one",
                                        from_there));
    }
    if (!make_room(phones_.size() >= limits_.phones, nullptr)) {
        return refusal(503, fmt::format("the room is full: {} phones", phones_.size()));
    }
    Phone phone{.token = random_text(),
                .name = unused(name),
                .address = address,
                .heard = Clock::now(),
                .last_request = Clock::now() - limits_.between_requests,
                .seats = std::vector<Seat>(crowds_.size())};
    const unsigned number = ++last_phone_;
    if (!seat(phone, number)) {
        return refusal(503, "there are too many clients already");
    }
    const Json reply{{"token", phone.token}, {"name", phone.name}};
    tokens_.emplace(phone.token, number);
    phones_.emplace(number, std::move(phone));
    change(number);
    return {200, dump(reply)};
}

std::optional<unsigned> Room::phone_of(std::string_view token)
{
    const std::lock_guard lock(mutex_);
    const auto number = tokens_.find(token);
    if (number == tokens_.end()) {
        return std::nullopt;
    }
    Phone& phone = phones_.at(number->second);
    phone.heard = Clock::now();
    if (phone.away && seat(phone, number->second)) {
        change(number->second);
    }
    return number->second;
}

Room::Reply Room::ask(std::string_view token, const Json& wish)
{
    const std::lock_guard lock(mutex_);
    Phone* const phone = find(token);
    if (phone == nullptr) {
        return unknown();
    }
    if (crowds_.empty()) {
        return refusal(409, "there is no server to ask");
    }
    const bool big = flag_in(wish, "big");
    const Clock::time_point now = Clock::now();
    const bool waits = std::all_of(phone->seats.begin(), phone->seats.end(),
                                   [](const Seat& seat) { return seat.asked.has_value(); });
    if (phone->away) {
        return refusal(409, "there are too many clients already");
    }
    if (waits) {
        return refusal(409, "the server still owes you a reply");
    }
    if (now - phone->last_request < limits_.between_requests) {
        return refusal(429, "not so fast");
    }
    if (big && !big_) {
        return refusal(403, "big numbers are not allowed now");
    }
    if (big && big_ones() >= limits_.big_at_once) {
        return refusal(429, "enough big numbers are being computed");
    }
    phone->last_request = now;
    for (std::size_t i = 0; i < crowds_.size(); ++i) {
        Seat& seat = phone->seats[i];
        if (!seat.asked) {  // of two servers, one may be slower
            seat.n = big ? big_request : small_request;
            seat.asked = now;
            crowds_[i]->phone_asks(seat.client, seat.n);
        }
    }
    change(tokens_.find(token)->second);
    return {200, "{}"};
}

std::size_t Room::big_ones() const
{
    return static_cast<std::size_t>(
        std::count_if(phones_.begin(), phones_.end(), [](const auto& other) {
            const std::vector<Seat>& seats = other.second.seats;
            return std::any_of(seats.begin(), seats.end(), [](const Seat& seat) {
                return seat.asked && seat.n == big_request;
            });
        }));
}

Room::Reply Room::vote(std::string_view token, const Json& wish)
{
    const std::lock_guard lock(mutex_);
    const auto number = tokens_.find(token);
    if (number == tokens_.end()) {
        return unknown();
    }
    const std::optional<std::size_t> serial = number_in(wish, "question");
    const std::optional<std::size_t> answer = number_in(wish, "answer");
    if (!vote_ || vote_->step != Step::open || serial != vote_->serial) {
        return refusal(409, "this question is closed");
    }
    if (!answer || *answer >= question().answers.size()) {
        return refusal(400, "there is no such answer");
    }
    vote_->phones[number->second] = *answer;
    change(number->second);
    return {200, "{}"};
}

Room::Reply Room::leave(std::string_view token)
{
    const std::lock_guard lock(mutex_);
    const auto number = tokens_.find(token);
    if (number == tokens_.end()) {
        return unknown();
    }
    forget(number->second);
    return {200, "{}"};
}

std::optional<Room::State> Room::state_of(unsigned number, std::uint64_t after)
{
    const std::lock_guard lock(mutex_);
    const auto found = phones_.find(number);
    if (found == phones_.end()) {
        return std::nullopt;
    }
    const Phone& phone = found->second;
    State state{std::max(phone.changed, for_all_), ""};
    if (state.version == after) {
        return state;
    }
    const Clock::time_point now = Clock::now();
    Json servers = Json::array();
    for (std::size_t i = 0; i < phone.seats.size(); ++i) {
        const Seat& seat = phone.seats[i];
        Json server{{"name", i < stages_.size() ? stages_[i] : ""}, {"client", seat.client}};
        if (seat.n != 0) {
            server["n"] = seat.n;
        }
        if (seat.asked) {
            server["waits"] = milliseconds(now - *seat.asked);
        } else if (!seat.reply.empty()) {
            server["reply"] = seat.reply;
            server["ms"] = seat.milliseconds;
        }
        servers.push_back(std::move(server));
    }
    Json json{{"version", state.version},      {"name", phone.name},
              {"servers", std::move(servers)}, {"big", big_},
              {"small", small_request},        {"large", big_request}};
    if (vote_) {
        json["question"] = question_json(false);
        if (const auto mine = vote_->phones.find(number); mine != vote_->phones.end()) {
            json["question"]["mine"] = mine->second;
        }
    }
    state.json = dump(json);
    return state;
}

// ---- Votes

const Question& Room::question() const { return questions_.at(vote_->stage).at(vote_->index); }

std::vector<std::size_t> Room::counted() const
{
    std::vector<std::size_t> counts = vote_->hands;
    for (const auto& [phone, answer] : vote_->phones) {
        ++counts[answer];
    }
    return counts;
}

// Only the board gets the number of votes. Until the result is shown, neither the board nor a phone
// gets the votes themselves.
Json Room::question_json(bool for_board) const
{
    const Question& asked = question();
    Json json{{"serial", vote_->serial},
              {"text", asked.text},
              {"answers", asked.answers},
              {"step", vote_->step == Step::open    ? "open"
                       : vote_->step == Step::shown ? "shown"
                                                    : "told"},
              {"round", vote_->round}};
    if (for_board) {
        const std::vector<std::size_t> hands = vote_->hands;
        std::size_t votes = vote_->phones.size();
        for (const std::size_t raised : hands) {
            votes += raised;
        }
        json["votes"] = votes;
        json["hands"] = hands;
        json["number"] = vote_->index + 1;
        json["of"] = questions_.at(vote_->stage).size();
        json["stage"] = vote_->stage;
    }
    if (vote_->step != Step::open) {
        json["counts"] = counted();
        if (!vote_->before.empty()) {
            json["before"] = vote_->before;
        }
    }
    if (vote_->step == Step::told && asked.right) {
        json["right"] = *asked.right;
    }
    return json;
}

std::optional<std::string> Room::obey(const Json& command)
{
    const std::string what = text_in(command, "do");
    const std::lock_guard lock(mutex_);
    if (what == "question") {
        return begin_vote(command);
    }
    if (what == "hand") {
        return raise_hand(command);
    }
    if (what == "phone-leaves") {
        return phone_leaves(command);
    }
    if (what == "big") {
        if (address_.empty()) {
            return "there is no room for phones; start the board with --room";
        }
        big_ = flag_in(command, "allowed");
        change(std::nullopt);
        return "";
    }
    if (what != "show" && what != "tell" && what != "again" && what != "close") {
        return std::nullopt;
    }
    if (!vote_) {
        return "no question is open; q asks one";
    }
    if (what == "again") {
        if (vote_->step == Step::open) {
            return "it is open already; v shows the votes";
        }
        vote_->before = counted();
        vote_->phones.clear();
        vote_->hands.assign(vote_->hands.size(), 0);
        vote_->serial = ++last_serial_;
        ++vote_->round;
        vote_->step = Step::open;
    } else if (what == "show") {
        vote_->step = std::max(vote_->step, Step::shown);
    } else if (what == "tell") {
        vote_->step = Step::told;
    } else {
        vote_.reset();
    }
    change(std::nullopt);
    return "";
}

// {"stage": ..., "index": ...}, or without an index: the question after the current one.
std::string Room::begin_vote(const Json& command)
{
    const std::string stage = text_in(command, "stage");
    const auto questions = questions_.find(stage);
    if (questions == questions_.end() || questions->second.empty()) {
        return "the page of this stage has no question to vote on";
    }
    const std::size_t next = vote_ && vote_->stage == stage ? vote_->index + 1 : 0;
    const std::size_t index = command.contains("index")
                                  ? number_in(command, "index").value_or(questions->second.size())
                                  : next % questions->second.size();
    if (index >= questions->second.size()) {
        return "there is no such question";
    }
    vote_ = Vote{.stage = stage, .index = index, .serial = ++last_serial_};
    vote_->hands.assign(question().answers.size(), 0);
    change(std::nullopt);
    return "";
}

std::string Room::raise_hand(const Json& command)
{
    const std::optional<std::size_t> answer = number_in(command, "answer");
    if (!vote_ || vote_->step != Step::open) {
        return "no question is open; q asks one";
    }
    if (!answer || *answer >= vote_->hands.size()) {
        return "there is no such answer";
    }
    std::size_t& hands = vote_->hands[*answer];
    if (flag_in(command, "back")) {
        hands -= hands > 0 ? 1 : 0;
    } else if (hands < 1000) {
        ++hands;
    }
    change_board();
    return "";
}

// ---- The board

// One phone, by its client's number, or all phones.
std::string Room::phone_leaves(const Json& command)
{
    if (flag_in(command, "all")) {
        while (!phones_.empty()) {
            forget(phones_.begin()->first);
        }
        return "";
    }
    const std::optional<std::size_t> client = number_in(command, "client");
    for (const auto& phones : of_client_) {
        const auto found = client ? phones.find(static_cast<unsigned>(*client)) : phones.end();
        if (found != phones.end()) {
            forget(found->second);
            return "";
        }
    }
    return "there is no such phone";
}

void Room::tick(const std::vector<std::string>& stages)
{
    const std::lock_guard lock(mutex_);
    if (stages != stages_) {
        stages_ = stages;
        change(std::nullopt);
    }
    const Clock::time_point now = Clock::now();
    std::vector<unsigned> old;
    for (auto& [number, phone] : phones_) {
        if (!phone.away && now - phone.heard > limits_.until_away) {
            unseat(phone);
            phone.away = true;
            change(number);
        } else if (phone.away && now - phone.heard > limits_.until_forgotten) {
            old.push_back(number);
        }
    }
    for (const unsigned number : old) {
        forget(number);
    }
}

Room::State Room::shown(std::uint64_t after) const
{
    const std::lock_guard lock(mutex_);
    State state{version_, ""};
    if (version_ == after) {
        return state;
    }
    const Clock::time_point now = Clock::now();
    Json phones = Json::array();
    for (const auto& [number, phone] : phones_) {
        Json clients = Json::array();
        Json waits = Json::array();
        for (const Seat& seat : phone.seats) {
            clients.push_back(seat.client);
            waits.push_back(seat.asked ? Json(std::round(milliseconds(now - *seat.asked)))
                                       : Json());
        }
        phones.push_back({std::move(clients), phone.name, phone.away, std::move(waits)});
    }
    Json json{{"phones", std::move(phones)}, {"big", big_}};
    if (!address_.empty()) {
        json["address"] = address_;
        json["qr"] = qr_;
    }
    if (vote_) {
        json["question"] = question_json(true);
    }
    state.json = dump(json);
    return state;
}

}  // namespace ground::board
